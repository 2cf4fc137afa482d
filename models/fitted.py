"""What a training learnt, and how it becomes the files of a bundle: thresholds, proof, variants."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from typing import Any, Final

import joblib
import numpy as np
from numpy.typing import NDArray

from domain.decision import Tier
from features.spec import FEATURES, FeatureSettings, fingerprint
from models import bundle
from models.calibration import Platt
from models.card import model_card
from models.categories import CategoryTables
from models.dataset import Dataset, Window
from models.ensemble import Ensemble
from models.manifest import FORMAT, Manifest, TrainingWindow
from models.missing import without_state
from models.onnx_member import foreign_described
from models.options import DAY_MS, TrainingOptions
from models.parity import Parity, check_parity, reference_rows
from models.policy import Policy, from_alert_rate
from models.serving import Serving
from models.session import run_in_blocks
from models.small import SmallModel
from models.stages import Stages
from models.trees import Nodes, TreeMember, from_booster
from models.variants import Live, build_variants, small_variant
from monitoring.profile import Profile

_LIBRARIES: Final = ("numpy", "onnx", "onnxruntime", "scikit-learn", "xgboost-cpu")
_GOLDEN_ROWS: Final = 64

Metrics = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Trained:
    """A model ready to be written by `bundle.write_bundle`.

    Attributes:
        manifest: Complete but for the digests of the files.
        files: Name -> bytes; together with the manifest a function of data, settings and seeds alone.
        seconds: Time of each stage; not part of the bundle.
        warnings: What a person should know.
    """

    manifest: Manifest
    files: Mapping[str, bytes]
    seconds: Mapping[str, float]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Calibrated:
    """What the calibration slice taught, with members that had not seen it.

    Attributes:
        early: Members fitted on the days before the slice, and how they are mixed.
        tiers: Final calibration of each tier.
        small: The distilled model.
        metrics: On the slice, by model.
    """

    early: Ensemble
    tiers: Mapping[Tier, Platt]
    small: SmallModel
    metrics: Metrics


@dataclass(frozen=True)
class Fitted:
    """Everything learnt; `finish` makes it files."""

    dataset: Dataset
    newest: NDArray[np.float32]
    window: Window
    options: TrainingOptions
    stages: Stages
    start_day: int
    calibrated: Calibrated
    ensemble: Ensemble
    full: bytes
    small: bytes

    def finish(self, *, name: str, features: FeatureSettings, rates: str, warnings: tuple[str, ...]) -> Trained:
        """Set the thresholds, prove the graphs, build the variants, and return manifest and files.

        Raises:
            ModelError: A compiled graph differs from what was fitted.
        """
        with self.stages.stage("thresholds"):
            scores = self._scores(self.newest)
            rate = {"alert_rate": self.options.alert_rate, "decline_share": self.options.decline_share}
            policy = Policy({tier: from_alert_rate(found, **rate) for tier, found in scores.items()})
            parity = self._parity(policy)
            golden = self.newest[:: max(1, len(self.newest) // _GOLDEN_ROWS)][:_GOLDEN_ROWS]
            serving = Serving(self._explained()[1], self.calibrated.small.tables, golden, self._scores(golden))
            profile = Profile.of([f.name for f in FEATURES], self.dataset.vectors, scores[Tier.FULL])
        with self.stages.stage("variants"):
            slice_ = self.dataset.take(self.dataset.day >= self.start_day)
            live = Live(self.newest, scores[Tier.FULL], policy)
            variants, graphs = build_variants(self.calibrated.early, self.ensemble, slice_, live, self.options)
            small = small_variant(self.small, self.calibrated.metrics["small"], scores[Tier.SMALL], live, parity[bundle.SMALL])
        manifest = Manifest(
            format=FORMAT,
            name=name,
            libraries={library: version(library) for library in _LIBRARIES},
            spec=fingerprint(features),
            base_currency=features.base_currency,
            rates=rates,
            window=self._window(),
            options=self.options,
            calibration=self.calibrated.tiers,
            member_weights=self.ensemble.mixture.weight,
            policy=policy,
            metrics=self.calibrated.metrics,
            parity=parity,
            files={},
            variants={"small": small, **variants},
            foreign=foreign_described(self.ensemble.members),
        )
        files = self._files(serving, profile) | graphs | {bundle.CARD: b""}
        files[bundle.CARD] = model_card(manifest, {name: len(files[name]) for name in (bundle.FULL, bundle.SMALL)}).encode()
        return Trained(manifest, files, self.stages.seconds, warnings)

    def _scores(self, vectors: NDArray[np.float32]) -> dict[Tier, NDArray[np.float64]]:
        inputs = {Tier.FULL: (self.full, vectors), Tier.SMALL: (self.small, vectors), Tier.DEGRADED: (self.full, without_state(vectors))}
        return {
            tier: self.calibrated.tiers[tier].probability(run_in_blocks(graph, "logit", rows, self.options.n_jobs)[:, 0])
            for tier, (graph, rows) in inputs.items()
        }

    def _parity(self, policy: Policy) -> dict[str, Parity]:
        rows = reference_rows(self.dataset.vectors, trees_of(self.ensemble), self.options.seed)
        both = {tier: (platt, policy.thresholds[tier]) for tier, platt in self.calibrated.tiers.items()}
        jobs = self.options.n_jobs
        full = check_parity(
            rows,
            self.ensemble.logit,
            lambda x: run_in_blocks(self.full, "logit", x, jobs)[:, 0],
            [both[Tier.FULL], both[Tier.DEGRADED]],
            bundle.FULL,
        )
        rows = reference_rows(self.dataset.vectors, [from_booster(self.calibrated.small.booster)], self.options.seed + 1)
        small = check_parity(
            rows, self.calibrated.small.logit, lambda x: run_in_blocks(self.small, "logit", x, jobs)[:, 0], [both[Tier.SMALL]], bundle.SMALL
        )
        return {bundle.FULL: full, bundle.SMALL: small}

    def _window(self) -> TrainingWindow:
        inside = self.dataset.day >= self.start_day
        return TrainingWindow(
            from_ms=self.window.from_ms,
            to_ms=self.window.to_ms,
            maturity_ms=self.window.maturity_ms,
            calibration_from_ms=self.start_day * DAY_MS,
            n_rows=len(self.dataset.target),
            n_frauds=int(self.dataset.target.sum()),
            n_calibration_rows=int(inside.sum()),
            n_calibration_frauds=int(self.dataset.target[inside].sum()),
        )

    def _explained(self) -> tuple[Any, CategoryTables]:
        """Return the booster that gives reasons, and its category worths: XGBoost's, without it the small model's."""
        member = self.ensemble.members.get("xgboost")
        if (booster := getattr(member, "booster", None)) is not None:
            return booster, self.ensemble.tables
        return self.calibrated.small.booster, self.calibrated.small.tables

    def _files(self, serving: Serving, profile: Profile) -> dict[str, bytes]:
        members = BytesIO()
        joblib.dump({"ensemble": self.ensemble, "small": self.calibrated.small}, members, compress=("zlib", 3))
        return {
            bundle.FULL: self.full,
            bundle.SMALL: self.small,
            bundle.BOOSTER: bytes(self._explained()[0].save_raw("ubj")),
            bundle.SMALL_BOOSTER: bytes(self.calibrated.small.booster.save_raw("ubj")),
            bundle.SERVING: serving.encode(),
            bundle.MEMBERS: members.getvalue(),
            bundle.PROFILE: profile.encode(),
        }


def trees_of(ensemble: Ensemble) -> list[Nodes]:
    """Return the trees of every member that has some: the splits that a proof must try."""
    return [member.nodes() for member in ensemble.members.values() if isinstance(member, TreeMember)]
