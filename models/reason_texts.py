"""Reasons in another language: a file of templates by code, in place of the sentences of `models.vocabulary`."""

import string
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

from domain.decision import Reason
from domain.errors import ConfigError
from models.vocabulary import CODES

FIELDS: Final = ("value", "usual", "feature", "contribution")
_UNKNOWN: Final = "?"


class ReasonTexts:
    """Templates by code; a code without one keeps its English sentence. Codes, features and figures are never changed."""

    def __init__(self, templates: Mapping[str, str]) -> None:
        self._templates = templates

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read templates: a TOML file with the table `[reasons]`, code = sentence, in which FIELDS in braces stand for figures.

        Raises:
            ConfigError: It cannot be read, or it names a code or a field that does not exist.
        """
        try:
            found = tomllib.loads(path.read_text("utf-8")).get("reasons", {})
        except OSError as error:
            raise ConfigError(f"scoring.reason_texts: cannot read {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"scoring.reason_texts: {path} is not TOML: {error}") from error
        if not isinstance(found, dict) or not found:
            raise ConfigError(f"scoring.reason_texts: {path} has no table [reasons]; write code = sentence below it, see docs/reasons.md")
        for code, template in found.items():
            if code not in CODES:
                raise ConfigError(f"scoring.reason_texts: {path} has a sentence for {code!r}, which is no code; docs/reasons.md lists them")
            _check(code, template, path)
        return cls(found)

    def of(self, reason: Reason) -> Reason:
        """Return the reason with its sentence in this language."""
        template = self._templates.get(reason.code)
        if template is None:
            return reason
        figures = {"value": _figure(reason.value), "usual": _figure(reason.usual), "contribution": f"{reason.contribution:.2f}"}
        return msgspec.structs.replace(reason, text=template.format(feature=reason.feature, **figures))


def _check(code: str, template: object, path: Path) -> None:
    where = f"scoring.reason_texts: {path}: the sentence of {code}"
    if not isinstance(template, str):
        raise ConfigError(f"{where} is no text; found {template!r}")
    try:
        parts = [(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ConfigError(f"{where} cannot be read: {error}; write {{{{ and }}}} for braces") from error
    for name, spec, conversion in parts:
        if name not in FIELDS or spec or conversion:
            raise ConfigError(f"{where} uses {{{name}}}; what may stand there is {', '.join(f'{{{one}}}' for one in FIELDS)}")


def _figure(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
