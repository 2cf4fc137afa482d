"""The reference of all features as Markdown, from their one list: `python -m features.reference > docs/features.md`."""

import sys
from typing import Final

from features import spec
from features.layout import N_AMOUNTS
from features.measures import MEASURES, measure_of
from features.spec import FEATURES, Feature, FeatureSettings, fingerprint

_NAMES: Final = {None: "the event itself", "card": "a card", "merchant": "a merchant", "device": "a device", "ip": "an IP address"}
_COUNTERPARTIES: Final = {"card": "merchants", "merchant": "cards", "device": "cards", "ip": "cards"}


def reference() -> str:
    """Return the reference: how to read it, time, labels, formulas, every feature, and what the fingerprint covers."""
    parts = [_head(), _time(), _amounts(), _labels(), _formulas(), *(_entity(entity) for entity in (None, *spec.ENTITIES)), _identity()]
    return "\n\n".join(parts) + "\n"


def _head() -> str:
    counts = ", ".join(f"{sum(f.entity == e for f in FEATURES)} of {_NAMES[e]}" for e in (None, *spec.ENTITIES))
    return f"""# Features

<!-- Generated from features/spec.py by `python -m features.reference`; edit that file, not this one. -->

A vector has {len(FEATURES)} features ({counts}), each a float32.
NaN stands for missing; what a missing feature is worth belongs to the models. Nothing here knows the future: a transaction is
evaluated on what was applied before it, itself excluded. Training and serving run the same code (`features/kernel.py`), so that
both have the same bits; `tests/parity/definition.py` says the same in plain Python. Why it is so:
[decision 4](adr/0004-online-features.md) and [decision 5](adr/0005-labels-and-decision-index.md).

A name is `{{entity}}_{{measure}}_{{window}}`. An entity that a transaction does not name (a device, an IP address) has no state, and
all its features are missing."""


def _time() -> str:
    rows = [
        f"| {name} | {_span(spec.WINDOWS_S[name])} | {_span(hop)} | {spec.WINDOWS_S[name] // hop + 1} |"
        for name, hop in spec.HOPS_S.items()
    ]
    slots = ", ".join(f"{n} of {_NAMES[entity]}" for entity, n in zip(spec.ENTITIES, spec.COUNTERPARTY_SLOTS, strict=True))
    counterparties = ", ".join(f"{other} of {_NAMES[entity]}" for entity, other in _COUNTERPARTIES.items())
    return f"""## Time, windows and late events
`t` is the event time. An event more than {_span(spec.FUTURE_MS // 1000)} ahead of its append time gets the append time (flag
`future`). `now` is the later of `t` and {_span(spec.LATENESS_S)} before the entity's newest event: each entity judges by its own newest
event, never by a clock.

A window of width `w` is made of whole tiles of width `h`: tiles `floor((now - w) / h)` to `floor(now / h)`, both included. So it
reaches back at least `w` and less than `w + h`.

| window | width w | tile h | tiles |
|---|---|---|---|
{chr(10).join(rows)}

* Up to {_span(spec.LATENESS_S)} older than the entity's newest event: on time, counted in its true tile.
* Older than that: counted in its true tile of every window that still holds it, flag `late`.
* More than {_span(spec.STALE_S)} older: scored, changes no state, flag `stale`.
* After more than {_span(spec.IDLE_S)} of event time without an event the entity starts anew.
* The newest transaction of an entity is the one with the latest event time; of equals the one applied last.

Distinct counterparties ({counterparties}) are counted in slots:
{slots}. A slot, CRC-32 of the id modulo their number, keeps the newest second
at which one of its counterparties was seen; two counterparties of one slot count as one, and the estimate allows for that up to about
four times as many counterparties as slots."""


def _amounts() -> str:
    return f"""## Amounts and places
`x` is the amount in minor units of the base currency, at the rate of the event's day, rounded, at most 2^32 - 1; `M` is the number
of minor units in one major unit (100 for EUR). Without a rate the amount is unknown (flag `currency_unknown`): the transaction
counts, its amount does not. `n` is the number of known amounts in a window, `m` the median of the last {N_AMOUNTS} known ones.
Places are rounded to 0.01 degree."""


def _labels() -> str:
    return f"""## Labels
A label counts from the moment it is applied, on the UTC day of its transaction; a correction takes it back. The maturity horizon
lies `features.maturity_days` before `now`: transactions before it that nobody called a fraud count as good. The age of a day is
the horizon's day minus that day: 0 is the horizon's own day, negative ages are newer. Of a day, `f` is the number of known frauds,
and `n` is

* all its transactions if its age is above 0,
* the share of them that lies behind the horizon if its age is 0 (at least `f`),
* `f` if it is newer: what is not known yet does not count as good.

A label window of `w` days holds the days of age at most `w`, so that everything newer is in it too. {spec.DAY_TILES} days are kept; what
leaves them stays in the totals of `risk_ever`."""


def _formulas() -> str:
    lines = ["## Formulas", "One for each measure, whatever the entity and window.", "", "| measure | of | formula |", "|---|---|---|"]
    lines += [f"| `{name}` | {measure.group} | {measure.formula} |" for name, measure in MEASURES.items()]
    return "\n".join(lines)


def _entity(entity: str | None) -> str:
    lines = [f"## Features of {_NAMES[entity]}"]
    found: dict[str, list[tuple[int, Feature]]] = {}
    for place, feature in enumerate(FEATURES):
        if feature.entity == entity:
            found.setdefault(measure_of(feature), []).append((place, feature))
    lines += ["| column | name | type | unit | missing (NaN) when | what it is | measure |", "|---|---|---|---|---|---|---|"]
    for measure in sorted(found, key=list(MEASURES).index):
        for place, f in found[measure]:
            lines.append(f"| {place} | `{f.name}` | float32 | {f.unit} | {f.missing} | {f.meaning} | `{measure}` |")
    return "\n".join(lines)


def _identity() -> str:
    defaults = FeatureSettings()
    settings = ", ".join(f"`features.{name}`" for name in defaults.__struct_fields__)
    return f"""## Fingerprint
The fingerprint names the whole definition: 16 hexadecimal digits, `{fingerprint(defaults)}` with the settings' defaults. It is in
every model bundle, every score and every feature row, and its first 8 digits are in the names of the state in Redis. It changes with

* any feature's name, place, entity, unit, meaning or missing value (everything in the tables above but the formulas),
* any width, tile or limit of windows, lateness and labels, and the version of the definition ({spec.DEFINITION_VERSION}), which is raised
  when arithmetic changes,
* the settings {settings}.

Another fingerprint is another namespace: state is built anew by `weir rebuild` beside the old one, and a model serves only the features
that it was trained on. The table of exchange rates (`features.rates`) is not part of it; a bundle carries its digest."""


def _span(seconds: int) -> str:
    """Return a span in its largest whole unit.

    >>> _span(300), _span(604800)
    ('5 min', '7 d')
    """
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


if __name__ == "__main__":
    sys.stdout.write(reference())
