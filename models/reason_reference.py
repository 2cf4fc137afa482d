"""The vocabulary of reasons as Markdown: `python -m models.reason_reference > docs/reasons.md`."""

import sys
from typing import Final

import numpy as np

from features.spec import COLUMN, ENTITIES, FEATURES, N_FEATURES
from models.reason_texts import FIELDS
from models.reasons import MOST_REASONS
from models.vocabulary import CODES, Facts, sentence

#: What the examples are told of: one busy minute at a merchant that has gone bad.
_EVENT: Final = {
    "event_log_amount": np.log1p(412.5), "event_hour_sin": np.sin(2 * np.pi * 3 / 24), "event_hour_cos": np.cos(2 * np.pi * 3 / 24),
    "event_channel": 1.0, "event_category": 5411.0, "event_country": 26.0 * 17 + 14,
    "card_amount_over_median": 14.2, "card_odd_amounts": 2.0, "card_known_frauds_28d": 1.0, "merchant_known_frauds_28d": 3.0,
    "device_since_card": 7200.0,
}  # fmt: skip
#: The same of every entity.
_OF_EACH: Final = {
    "count_1h": 12.0, "count_30d": 288.0, "total_24h": 250_000.0, "total_30d": 900_000.0, "merchants_24h": 7.0, "cards_24h": 31.0,
    "distance": 1240.0, "since_last": 720.0, "last_amount": 950.0, "transactions_ever": 310.0,
}  # fmt: skip
_EXAMPLE: Final = _EVENT | {
    name: value for entity in ENTITIES for measure, value in _OF_EACH.items() if (name := f"{entity}_{measure}") in COLUMN
}
_MAJOR: Final = 100
_MATURITY_DAYS: Final = 7


def reference() -> str:
    """Return the page: how reasons come about, every code with its features and an example, and how to translate them."""
    return f"""# Reasons

<!-- Generated from models/vocabulary.py by `python -m models.reason_reference`; edit that file, not this one. -->

An alert says why: at most {MOST_REASONS} reasons, the strongest first, each with

| field | meaning |
|---|---|
| `code` | one of the codes below: a family of features that say the same. Codes are part of the contract: they are not renamed |
| `text` | one sentence for people |
| `feature` | the strongest known feature of the family |
| `value` | its value, in the unit that [features.md](features.md) names; null where it is missing |
| `usual` | what is usual for this card (merchant, device, address), in the same unit, where there is such a thing |
| `contribution` | what the family adds to the score, in log odds: the sum over its features |

Contributions are exact tree SHAP values (Lundberg and others, 2020): with the model's base value they add up to its log odds, which
is checked whenever a model is loaded. They explain the boosted trees, not the mean of all members; beyond the time that
`scoring.reasons_budget_ms` grants a chunk, and in an outage of Redis, they explain the small model. Only what raised the score is a
reason.

## Codes

| code | an example | its features |
|---|---|---|
{chr(10).join(_row(code) for code in dict.fromkeys(CODES))}

## Another language

`scoring.reason_texts` names a TOML file whose table `[reasons]` has a sentence for each code that shall be said differently. In it,
{", ".join(f"`{{{name}}}`" for name in FIELDS)} stand for the figures above; a code without a sentence keeps the
English one. A file that names an unknown code or field is refused when the worker starts.

```toml
[reasons]
unusual_amount = "Betrag {{value}}-mal so hoch wie bei dieser Karte üblich"
card_velocity = "{{value}} Zahlungen dieser Karte in kurzer Zeit (üblich: {{usual}})"
```
"""


def _row(code: str) -> str:
    columns = [column for column, own in enumerate(CODES) if own == code]
    told = next((column for column in columns if FEATURES[column].name in _EXAMPLE), columns[0])
    vector = np.full(N_FEATURES, np.nan, np.float32)
    for name, value in _EXAMPLE.items():
        vector[COLUMN[name]] = value
    names = [f"`{FEATURES[column].name}`" for column in columns]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"| `{code}` | {sentence(told, Facts(vector, _MAJOR, _MATURITY_DAYS)).text} | {shown} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
