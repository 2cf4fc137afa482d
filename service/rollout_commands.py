"""The commands of `weir models` that change which model serves: promote, rollback, shadow, canary, end."""

from typing import TYPE_CHECKING

import click

from service.authorship import authored

if TYPE_CHECKING:
    from models.registry import Registry
    from models.registry_history import State
    from service.settings import Settings


@click.command(name="promote")
@click.argument("reference")
@click.option("--force", "is_forced", is_flag=True, help="Promote although the gate refused it; the history records that.")
@authored
@click.option("--json", "as_json", is_flag=True, help="Print what is in force then as JSON.")
@click.pass_context
def promote(context: click.Context, reference: str, *, is_forced: bool, who: str, why: str, as_json: bool) -> None:
    """Make a model the champion; the champion so far becomes `previous`. A trial of the model ends.

    A model that the gate refused is refused here (`weir models gate`). One without a verdict is promoted with a warning, unless
    gate.required is set.

    \b
    Examples:
      weir models promote weir@1f2e3d4c5b6a --why "better in four weeks of shadow"
      weir models promote challenger
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.gating import require_passed

    registry, seen = _opened(context, reference)
    model = registry.reference(reference)
    warning, is_overridden = require_passed(registry, model, seen, _settings(context), is_forced=is_forced)
    if warning:
        click.echo(f"warning: {warning}", err=True)
    found = registry.promote(model, expected=seen, who=who, why=why, is_forced=is_overridden)
    _tell(registry, f"{found} is the champion; running workers take it at their next look", as_json=as_json)


@click.command(name="rollback")
@authored
@click.option("--json", "as_json", is_flag=True, help="Print what is in force then as JSON.")
@click.pass_context
def rollback(context: click.Context, *, who: str, why: str, as_json: bool) -> None:
    """Make the champion before champion again. A second rollback undoes the first.

    \b
    Example:
      weir models rollback --why "declines doubled within the hour"
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.wiring import registry_of

    registry, seen = _opened(context, registry_of(_settings(context)).state().rollback_target)
    found = registry.rollback(expected=seen, who=who, why=why)
    _tell(registry, f"{found} is the champion again; running workers take it at their next look", as_json=as_json)


@click.command(name="shadow")
@click.argument("reference")
@authored
@click.option("--json", "as_json", is_flag=True, help="Print what is in force then as JSON.")
@click.pass_context
def shadow(context: click.Context, reference: str, *, who: str, why: str, as_json: bool) -> None:
    """Let a model score all traffic beside the champion, without deciding anything.

    \b
    Example:
      weir models shadow weir@1f2e3d4c5b6a
    """  # noqa: D301 - click's mark for lines that stay as they are
    registry, seen = _opened(context, reference)
    found = registry.shadow(registry.reference(reference), expected=seen, who=who, why=why)
    _tell(registry, f"{found.model} scores beside the champion and decides nothing", as_json=as_json)


@click.command(name="canary")
@click.argument("reference")
@click.option(
    "--percent", type=click.FloatRange(0, 100, min_open=True, max_open=True), default=5.0, show_default=True, help="Of the cards."
)
@authored
@click.option("--json", "as_json", is_flag=True, help="Print what is in force then as JSON.")
@click.pass_context
def canary(context: click.Context, reference: str, *, percent: float, who: str, why: str, as_json: bool) -> None:
    """Let a model decide for a share of the cards. A card stays with its model; a larger share takes none away.

    \b
    Example:
      weir models canary challenger --percent 5
    """  # noqa: D301 - click's mark for lines that stay as they are
    registry, seen = _opened(context, reference)
    found = registry.canary(registry.reference(reference), percent, expected=seen, who=who, why=why)
    _tell(registry, f"{found.model} decides for {percent:g} % of the cards", as_json=as_json)


@click.command(name="end")
@authored
@click.option("--json", "as_json", is_flag=True, help="Print what is in force then as JSON.")
@click.pass_context
def end(context: click.Context, *, who: str, why: str, as_json: bool) -> None:
    """End the trial (shadow or canary): the champion decides everything again.

    \b
    Example:
      weir models end --why "too many false alarms"
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.wiring import registry_of

    registry = registry_of(_settings(context))
    found = registry.end_rollout(who=who, why=why)
    _tell(registry, f"the trial of {found} has ended", as_json=as_json)


def _settings(context: click.Context) -> "Settings":
    from service.context import settings_of

    return settings_of(context).settings


def _opened(context: click.Context, reference: str) -> "tuple[Registry, State]":
    """Return the registry and its state, after loading a model as a worker would: what workers would refuse is refused here."""
    from features.spec import fingerprint
    from models.bundle import load_bundle
    from service.wiring import registry_of, verifying_key_of

    settings = _settings(context)
    registry = registry_of(settings)
    seen = registry.state()
    load_bundle(registry.resolve(reference), verifying_key_of(settings), fingerprint(settings.features.definition()))
    return registry, seen


def _tell(registry: "Registry", sentence: str, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(registry.state())).decode())
    else:
        click.echo(sentence)
