"""Lists and limits around a model: what is decided whatever it says, and what is never let through."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from domain.card_number import is_card_number
from domain.decision import Outcome
from features.batch import Batch, country_code
from features.spec import FEATURES

#: A rule's name stands in answers and logs.
RuleName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*\Z", max_length=64)]
Field = Literal["card_id", "merchant_id", "device_id", "ip", "country", "mcc"]
Severe = Literal["review", "decline"]
SEVERITY: Final[Mapping[str, int]] = {"approve": 0, "review": 1, "decline": 2}
_ENTITIES: Final[Mapping[str, int]] = {"card_id": 0, "merchant_id": 1, "device_id": 2, "ip": 3}
_CODES: Final[Mapping[str, int]] = {"mcc": 1, "country": 2}
_COLUMNS: Final = {feature.name: column for column, feature in enumerate(FEATURES)}


class ListRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Ids (or countries, or category codes) whose transactions are decided without the model."""

    name: RuleName
    field: Field
    values: Annotated[tuple[str, ...], Meta(min_length=1)]
    """As in the transaction; category codes as digits."""
    outcome: Outcome
    """`approve` makes it an allow list, the others a block list."""

    def __post_init__(self) -> None:
        """Refuse values that no transaction can have.

        Raises:
            ValueError: A card id is a card number, a country is not two capital letters, or a category code not a number up to 9999.
        """
        for value in self.values:
            if self.field == "card_id" and is_card_number(value):
                raise ValueError(f"the list {self.name} holds a card number; give the tokens that the transactions carry")
            if self.field == "country" and not (len(value) == 2 and value.isascii() and value.isalpha() and value.isupper()):
                raise ValueError(f"the list {self.name} holds the country {value!r}; give two capital letters (ISO 3166)")
            if self.field == "mcc" and not (value.isascii() and value.isdigit() and int(value) <= 9999):
                raise ValueError(f"the list {self.name} holds the category code {value!r}; give up to four digits")


class AmountLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An amount from which on (>=) a transaction gets at least an outcome. An unknown amount is under every limit."""

    name: RuleName
    amount_minor: Annotated[int, Meta(ge=0)]
    """Minor units of the base currency."""
    outcome: Severe


class VelocityLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A value of a feature from which on (>=) a transaction gets at least an outcome. A missing feature is under every limit."""

    name: RuleName
    feature: str
    """Of `features.spec.FEATURES`, such as `card_count_1h`; it counts what came before the transaction."""
    bound: float
    """In the feature's unit."""
    outcome: Severe

    def __post_init__(self) -> None:
        """Refuse a feature that does not exist and a bound that is not a number.

        Raises:
            ValueError: One of the two.
        """
        if self.feature not in _COLUMNS:
            raise ValueError(f"the limit {self.name} is on the feature {self.feature!r}, which does not exist; docs/features.md lists them")
        if not np.isfinite(self.bound):
            raise ValueError(f"the limit {self.name} has the bound {self.bound}; give a number")


class Ruled(NamedTuple):
    """Outcomes after the rules."""

    outcomes: list[Outcome]
    rules: dict[int, str]
    """Row -> name of the list or limit that decided it."""


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """Lists, which come before the model, and limits, which come after it.

    An allow list wins over block lists; of several block lists the most severe one decides. Lists stand in for the model's
    outcome. Limits come last and only ever make an outcome more severe, also one of an allow list. Of rules that
    say the same, the first one is named.
    """

    lists: tuple[ListRule, ...] = ()
    amounts: tuple[AmountLimit, ...] = ()
    velocities: tuple[VelocityLimit, ...] = ()

    def __post_init__(self) -> None:
        """Refuse two rules of one name.

        Raises:
            ValueError: There are two.
        """
        names = [rule.name for rule in self.lists] + [limit.name for limit in self.amounts] + [limit.name for limit in self.velocities]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"more than one rule is called {min(twice)}; names tell an auditor which one decided")
        _ = self._ordered_lists  # takes time for long lists: whoever reads the policy spends it, not the first chunk

    def __bool__(self) -> bool:
        """Tell whether there is any rule."""
        return bool(self.lists or self.amounts or self.velocities)

    def apply(self, batch: Batch, vectors: NDArray[np.float32], outcomes: Sequence[Outcome]) -> Ruled:
        """Return the outcomes after the rules, and which rule decided which row.

        Args:
            batch: The n transactions as columns.
            vectors: Of them, float32 (n, N_FEATURES).
            outcomes: Of the model, n.
        """
        found, rules = list(outcomes), dict[int, str]()
        if not self:
            return Ruled(found, rules)
        for rule, members in self._ordered_lists:
            for row in _listed(rule, members, batch):
                # Allow lists come first, then block lists by severity: the first to match a row decides it.
                if row not in rules:
                    found[row], rules[row] = rule.outcome, rule.name
        for limit in self.amounts:
            _raise_to(limit.outcome, limit.name, batch.amount >= limit.amount_minor, found, rules)
        for velocity in self.velocities:
            _raise_to(velocity.outcome, velocity.name, vectors[:, _COLUMNS[velocity.feature]] >= velocity.bound, found, rules)
        return Ruled(found, rules)

    @cached_property
    def _ordered_lists(self) -> list[tuple[ListRule, frozenset[str] | frozenset[int]]]:
        order = {"approve": 0, "decline": 1, "review": 2}
        return [(rule, _members(rule)) for rule in sorted(self.lists, key=lambda rule: order[rule.outcome])]


def _members(rule: ListRule) -> frozenset[str] | frozenset[int]:
    if rule.field == "mcc":
        return frozenset(int(value) for value in rule.values)
    if rule.field == "country":
        return frozenset(country_code(value) for value in rule.values)
    return frozenset(rule.values)


def _listed(rule: ListRule, members: frozenset[str] | frozenset[int], batch: Batch) -> list[int]:
    column: Sequence[object]
    column = batch.entities[_ENTITIES[rule.field]] if rule.field in _ENTITIES else batch.codes[:, _CODES[rule.field]].tolist()
    return [row for row, value in enumerate(column) if value in members]


def _raise_to(outcome: Outcome, name: str, reached: NDArray[np.bool_], outcomes: list[Outcome], rules: dict[int, str]) -> None:
    for row in np.flatnonzero(reached).tolist():
        if SEVERITY[outcome] > SEVERITY[outcomes[row]]:
            outcomes[row], rules[row] = outcome, name
