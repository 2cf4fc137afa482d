"""The ensemble: calibrated members, their weighted mean on the logit, and which of them earn a weight."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from models.calibration import Platt, log_loss, sigmoid
from models.categories import CategoryTables
from models.graph import Graph
from models.graph_input import VECTORS
from models.members import Member, chosen
from models.options import TrainingOptions
from models.sample import Sample

#: How much weights are pulled towards equal ones, per squared difference: about what 100 frauds say.
_PULL: Final = 20.0
#: A member that moves the mean by less than this share of all movement is left out.
_LEAST_SHARE: Final = 0.03


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


def fit_mixture(members: Mapping[str, NDArray[np.float64]], target: NDArray[np.bool_], weight: NDArray[np.float64]) -> Mixture:
    """Calibrate each member on rows that it has not seen, and weigh them.

    The weights are those, none negative, whose mean of calibrated logits has the least log loss there, pulled towards equal
    ones (stacking: Wolpert, 1992; non-negative: Breiman, 1996): few frauds leave them equal, many let them speak. A member
    that hardly moves the mean gets nothing and is not served.

    Args:
        members: Uncalibrated logits on the calibration slice, by member.
        target: Fraud or not.
        weight: What a row stands for.
    """
    calibration = {name: Platt.fit(logit, target, weight) for name, logit in members.items()}
    # A member whose score falls with fraud has learnt noise.
    kept = [name for name in members if calibration[name].slope > 0] or list(members)
    shares = _stack([calibration[name].logit(members[name]) for name in kept], target, weight)
    return Mixture(calibration, dict.fromkeys(members, 0.0) | dict(zip(kept, shares, strict=True)))


def _stack(logits: Sequence[NDArray[np.float64]], target: NDArray[np.bool_], weight: NDArray[np.float64]) -> list[float]:
    """Return the weight of each logit, summing to 1; the same bits whatever the number of threads."""
    from scipy.optimize import minimize

    n, equal = len(logits), 1.0 / len(logits)

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        mean = np.full(len(target), point[n])
        for share, logit in zip(point[:n].tolist(), logits, strict=True):
            mean += share * logit
        error = weight * (sigmoid(mean) - target)
        away = point[:n] - equal
        slope = [float((error * logit).sum()) for logit in logits] + 2.0 * _PULL * away
        value = float((weight * log_loss(mean, target)).sum()) + _PULL * float((away**2).sum())
        return value, np.append(slope, error.sum())

    start = np.append(np.full(n, equal), 0.0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * n + [(None, None)]).x[:n]
    moved = found * [float(logit.std()) for logit in logits]
    shares = np.where(moved < _LEAST_SHARE * moved.sum(), 0.0, found)
    if not shares.any():
        return [equal] * n
    # Rounded: what an optimiser leaves in the last digits is no choice of anybody.
    rounded = np.round(shares / shares.sum(), 3)
    rounded[np.argmax(rounded)] += 1.0 - rounded.sum()
    return [float(share) for share in rounded]


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
