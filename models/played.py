"""One fold, played: every configuration trained as of T, and what everybody said of the test rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from domain.errors import TrainingRefused
from models.contenders import Contender, Contest, contest
from models.evaluation_result import FoldResult
from models.fold_metrics import Prices, fold_metrics
from models.folds import Fold, Plan
from models.judged import Judged
from models.options import TrainingOptions
from models.prepared import Prepared


@dataclass(frozen=True)
class Played:
    """A fold that counts.

    Attributes:
        fold: When.
        judged: The test rows.
        contests: By configuration; the first one's models have plain names.
        n_train: Rows that could train.
        n_train_frauds: Of these, the frauds known at T.
        n_known_card_rows: Test rows of known cards, dropped or not.
    """

    fold: Fold
    judged: Judged
    contests: Mapping[str, Contest]
    n_train: int
    n_train_frauds: int
    n_known_card_rows: int

    @cached_property
    def contenders(self) -> Mapping[str, Contender]:
        """Return the models: those of the first configuration by their names, the others' as `<configuration>/<model>`."""
        return dict(self._named())

    @property
    def probability(self) -> Mapping[str, NDArray[np.float64]]:
        """Return what each model said of the test rows."""
        return {name: found.probability for name, found in self.contenders.items()}

    def is_alert(self, name: str) -> NDArray[np.bool_]:
        """Tell which test rows a model alerts, by the threshold set before them."""
        found = self.contenders[name]
        return found.probability >= found.threshold

    def result(self, plan: Plan) -> FoldResult:
        """Return the fold's metrics."""
        prices = Prices(plan.alert_price, plan.loss_share)
        return FoldResult(
            name=self.fold.name,
            from_ms=self.fold.from_ms,
            as_of_ms=self.fold.as_of_ms,
            test_to_ms=self.fold.test_to_ms,
            n_train=self.n_train,
            n_train_frauds=self.n_train_frauds,
            n_test=len(self.judged.target),
            n_test_frauds=int(self.judged.target.sum()),
            n_known_card_rows=self.n_known_card_rows,
            models={
                name: fold_metrics(found.probability, self.judged, found.threshold, prices, k=plan.k)
                for name, found in self.contenders.items()
            },
            thresholds={name: found.threshold for name, found in self.contenders.items()},
            weights={name: found.weights for name, found in self.contests.items()},
        )

    def _named(self) -> Iterator[tuple[str, Contender]]:
        first = next(iter(self.contests))
        for configuration, found in self.contests.items():
            for name, contender in found.contenders.items():
                yield name if configuration == first else f"{configuration}/{name}", contender


def play(
    prepared: Prepared, fold: Fold, configurations: Mapping[str, TrainingOptions], *, with_baselines: bool = True
) -> Played | FoldResult:
    """Train every configuration as of the fold's T and ask it for the test rows.

    Baselines take part once, beside the first configuration.

    Returns:
        The fold, or why it does not count: fewer frauds in its test window than the plan wants, or too few to train on.
    """
    plan = prepared.plan
    judged, n_known = prepared.judged(fold)
    n_frauds = int(judged.target.sum())
    if n_frauds < plan.min_frauds:
        why = f"{n_frauds} frauds in its test window, fewer than {plan.min_frauds}"
        return _skipped(fold, judged, n_known, why)
    contests: dict[str, Contest] = {}
    n_train = n_train_frauds = 0
    for name, options in configurations.items():
        found = prepared.material(fold, options.threshold_days)
        n_train, n_train_frauds = len(found.dataset.target), int(found.dataset.target.sum())
        try:
            contests[name] = contest(
                found.dataset, found.newest, found.tests, fold.window, options, with_baselines=with_baselines and not contests
            )
        except TrainingRefused as error:
            return _skipped(fold, judged, n_known, str(error), n_train, n_train_frauds)
    return Played(fold, judged, contests, n_train, n_train_frauds, n_known)


def _skipped(fold: Fold, judged: Judged, n_known: int, why: str, n_train: int = 0, n_train_frauds: int = 0) -> FoldResult:
    return FoldResult(
        name=fold.name, from_ms=fold.from_ms, as_of_ms=fold.as_of_ms, test_to_ms=fold.test_to_ms, n_train=n_train,
        n_train_frauds=n_train_frauds, n_test=len(judged.target), n_test_frauds=int(judged.target.sum()), n_known_card_rows=n_known,
        skipped=why,
    )  # fmt: skip
