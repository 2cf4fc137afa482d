"""Compiled variants of one ensemble: smaller or sturdier graphs, each proved, calibrated and measured like the full one."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.decision import Tier
from models.calibration import Platt
from models.dataset import Dataset
from models.ensemble import Ensemble, compile_ensemble
from models.members import Member
from models.metrics import measure
from models.missing import without_state
from models.options import TrainingOptions
from models.parity import Parity, check_parity, reference_rows
from models.policy import Policy, from_alert_rate
from models.pruned import pruned
from models.quantised import quantised
from models.session import run_in_blocks
from models.tier_calibration import calibrated_tier
from models.trees import TreeMember
from models.variant import Name, Variant, file_of

_CHANGES: Final[Mapping[Name, Callable[[Member], Member]]] = {"pruned": pruned, "int8-leaf": quantised}


@dataclass(frozen=True, slots=True)
class Live:
    """What the full graph decides.

    Attributes:
        newest: Vectors of the newest days before T.
        probability: The full graph's, of these.
        policy: With the live thresholds.
    """

    newest: NDArray[np.float32]
    probability: NDArray[np.float64]
    policy: Policy


def build_variants(
    early: Ensemble, ensemble: Ensemble, slice_: Dataset, live: Live, options: TrainingOptions
) -> tuple[dict[str, Variant], dict[str, bytes]]:
    """Return every variant that the options name, and its graph by file name.

    Args:
        early: Members that have not seen `slice_`: they say how good a variant is, and calibrate it.
        ensemble: What is served.
        slice_: The calibration slice.
        live: The full graph's decisions.
        options: Which variants, and the alert rate.

    Raises:
        ModelError: A variant's graph differs from its own reference.
    """
    found: dict[str, Variant] = {}
    graphs: dict[str, bytes] = {}
    for name in options.variants:
        change = _CHANGES[name]
        calibration, metrics = _judged(_derived(early, change), slice_, options)
        served = _derived(ensemble, change)
        graph = compile_ensemble(served)
        policy = _policy(graph, calibration, live, options)
        probability = _probability(graph, calibration[Tier.FULL], live.newest, options)
        flips = _severity(live.policy, probability) != _severity(live.policy, live.probability)
        # The same trees as the full graph's: its splits are the hard places of every variant.
        rows = reference_rows(slice_.vectors, [m.nodes() for m in ensemble.members.values() if isinstance(m, TreeMember)], options.seed + 2)
        tiers = [(calibration[tier], policy.thresholds[tier]) for tier in (Tier.FULL, Tier.DEGRADED)]
        parity = check_parity(rows, served.logit, partial(_logit, graph, options=options), tiers, file_of(name))
        found[name] = Variant(len(graph), _compressed(graph), metrics, calibration, policy, len(flips), int(flips.sum()), parity)
        graphs[file_of(name)] = graph
    return found, graphs


def small_variant(
    graph: bytes, metrics: Mapping[str, float | None], probability: NDArray[np.float64], live: Live, parity: Parity
) -> Variant:
    """Return what the bundle says of the distilled model, beside the variants.

    Args:
        graph: The small graph.
        metrics: On the calibration slice.
        probability: Its own, of the newest rows.
        live: The full graph's decisions.
        parity: Already proved.
    """
    flips = _severity(live.policy, probability, Tier.SMALL) != _severity(live.policy, live.probability)
    return Variant(len(graph), _compressed(graph), metrics, {}, live.policy, len(flips), int(flips.sum()), parity)


def _derived(ensemble: Ensemble, change: Callable[[Member], Member]) -> Ensemble:
    return Ensemble(ensemble.tables, {name: change(member) for name, member in ensemble.members.items()}, ensemble.mixture)


def _judged(early: Ensemble, slice_: Dataset, options: TrainingOptions) -> tuple[dict[Tier, Platt], dict[str, float | None]]:
    graph = compile_ensemble(early)
    logits = {Tier.FULL: _logit(graph, slice_.vectors, options), Tier.DEGRADED: _logit(graph, without_state(slice_.vectors), options)}
    calibration = {tier: calibrated_tier(logit, slice_, str(tier)) for tier, logit in logits.items()}
    return calibration, measure(calibration[Tier.FULL].probability(logits[Tier.FULL]), slice_.target)


def _policy(graph: bytes, calibration: Mapping[Tier, Platt], live: Live, options: TrainingOptions) -> Policy:
    rows = {Tier.FULL: live.newest, Tier.DEGRADED: without_state(live.newest)}
    rate = {"alert_rate": options.alert_rate, "decline_share": options.decline_share}
    own = {tier: from_alert_rate(_probability(graph, platt, rows[tier], options), **rate) for tier, platt in calibration.items()}
    return Policy({**live.policy.thresholds, **own})


def _compressed(graph: bytes) -> int:
    return len(zlib.compress(graph, 6))


def _severity(policy: Policy, probability: NDArray[np.float64], tier: Tier = Tier.FULL) -> NDArray[np.int64]:
    limits = policy.thresholds[tier]
    found: NDArray[np.int64] = (probability >= limits.review).astype(np.int64) + (probability >= limits.decline)
    return found


def _probability(graph: bytes, platt: Platt, rows: NDArray[np.float32], options: TrainingOptions) -> NDArray[np.float64]:
    return platt.probability(_logit(graph, rows, options))


def _logit(graph: bytes, rows: NDArray[np.float32], options: TrainingOptions) -> NDArray[np.float64]:
    return run_in_blocks(graph, "logit", rows, options.n_jobs)[:, 0]
