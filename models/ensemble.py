"""The ensemble: calibrated members, their weighted mean on the logit, and which of them earn a weight."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from models.calibration import Platt, log_loss
from models.categories import CategoryTables
from models.graph import Graph
from models.graph_input import VECTORS
from models.members import Member, chosen
from models.options import TrainingOptions
from models.sample import Sample

#: Standard errors by which a member must hurt before it loses its weight.
_EVIDENCE = 2.0


@dataclass(frozen=True)
class Mixture:
    """How members become one logit.

    Attributes:
        calibration: Of each member's logit.
        weight: Of each member, summing to 1; zero is allowed.
    """

    calibration: Mapping[str, Platt]
    weight: Mapping[str, float]

    def logit(self, members: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the weighted mean of the calibrated member logits, (n,)."""
        parts = [weight * self.calibration[name].logit(members[name]) for name, weight in self.weight.items()]
        total: NDArray[np.float64] = np.sum(parts, axis=0)
        return total


@dataclass(frozen=True)
class Ensemble:
    """Fitted members and how they are mixed: the source of truth that a compiled graph must equal."""

    tables: CategoryTables
    members: Mapping[str, Member]
    mixture: Mixture

    def logit(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the uncalibrated logit of raw vectors, (n,), computed by the members' own libraries."""
        inputs = self.tables.encode(vectors)
        return self.mixture.logit({name: member.logit(inputs) for name, member in self.members.items()})


def fit_members(sample: Sample, options: TrainingOptions) -> dict[str, Member]:
    """Fit the chosen members on `sample`, `n_jobs` at a time; the result does not depend on how many.

    Raises:
        ConfigError: The options name a member that does not exist.
    """
    members = chosen(options)
    # Around all of them: a member that ends its own limit would give threads, and so other sums, to one that still runs.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(options.n_jobs) as threads:
        fitted = threads.map(lambda fit: fit(sample, options), members.values())
        return dict(zip(members, fitted, strict=True))


def fit_mixture(
    members: Mapping[str, NDArray[np.float64]], target: NDArray[np.bool_], weight: NDArray[np.float64], card: NDArray[np.int64]
) -> Mixture:
    """Calibrate each member on rows that it has not seen, and weigh them.

    Weights are equal. A member loses its weight only on evidence: without it the log loss of the recalibrated mean is
    lower by more than two standard errors, rows of one card counted together; the worst goes first. One member always stays.

    Args:
        members: Uncalibrated logits on the calibration slice, by member.
        target: Fraud or not.
        weight: What a row stands for.
        card: Number of each row's card.
    """
    calibration = {name: Platt.fit(logit, target, weight) for name, logit in members.items()}
    # A member whose score falls with fraud has learnt noise.
    kept = [name for name in members if calibration[name].slope > 0] or list(members)
    calibrated = {name: calibration[name].logit(members[name]) for name in kept}

    def loss(names: list[str]) -> NDArray[np.float64]:
        mean = np.mean([calibrated[name] for name in names], axis=0)
        return weight * log_loss(Platt.fit(mean, target, weight).logit(mean), target)

    while len(kept) > 1:
        present = loss(kept)
        gains = {name: _significance(present - loss([other for other in kept if other != name]), card) for name in kept}
        worst = max(gains, key=lambda name: gains[name])
        if gains[worst] <= _EVIDENCE:
            break
        kept.remove(worst)
    return Mixture(calibration, {name: 1.0 / len(kept) if name in kept else 0.0 for name in members})


def compile_ensemble(ensemble: Ensemble) -> bytes:
    """Return the ensemble as a graph from raw vectors to `logit`, float32 (n, 1). Members without weight are left out."""
    graph = Graph()
    inputs = graph.categories(ensemble.tables)
    mixture, parts = ensemble.mixture, []
    for name, member in ensemble.members.items():
        if (weight := mixture.weight[name]) > 0:
            platt = mixture.calibration[name]
            scaled = graph.op("Mul", member.compile(graph, inputs), graph.constant([[weight * platt.slope]]))
            parts.append(graph.op("Add", scaled, graph.constant([[weight * platt.intercept]])))
    return graph.finish(logit=parts[0] if len(parts) == 1 else graph.op("Sum", *parts))


def compile_members(members: Mapping[str, Member], tables: CategoryTables | None) -> bytes:
    """Return the members as a graph to `members`, float32 (n, members), uncalibrated, in their order.

    Args:
        members: What to compile.
        tables: Category worths for raw vectors; None: the input is encoded already.
    """
    graph = Graph()
    inputs = VECTORS if tables is None else graph.categories(tables)
    return graph.finish(members=graph.op("Concat", *(member.compile(graph, inputs) for member in members.values()), axis=1))


def _significance(difference: NDArray[np.float64], card: NDArray[np.int64]) -> float:
    by_card = np.bincount(card, weights=difference)
    by_card = by_card[np.bincount(card) > 0]
    error = float(by_card.std(ddof=1) * np.sqrt(len(by_card))) if len(by_card) > 1 else float("inf")
    return float(by_card.sum()) / error if error > 0 else 0.0
