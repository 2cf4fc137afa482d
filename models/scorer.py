"""What a worker calls: vectors in, probabilities, outcomes and reasons out."""

from copy import copy
from math import floor
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from domain.decision import Outcome, Reason, Tier
from domain.errors import BundleRejected
from features.currency import exponent
from features.spec import N_FEATURES
from models.calibration import Platt
from models.contributions import Contributions
from models.graph_input import VECTORS
from models.manifest import Manifest
from models.missing import without_state
from models.policy import Policy
from models.reasons import Reasons
from models.rules import Rules
from models.serving import Serving, decode_serving
from models.session import open_session
from monitoring.profile import Profile

#: Golden rows may differ by this much between processors.
_GOLDEN_TOLERANCE = 1e-5
_DAY_MS = 86_400_000
#: Contributions are float32 sums over all trees.
_ADDITIVITY_TOLERANCE = 1e-3
_EXPLAINED_ROWS = 8


class Scorer:
    """One loaded model and the policy it decides under. Immutable; its methods may be called from any thread.

    Scores do not depend on how rows are batched: a row gets the same bits alone and among hundreds.

    Attributes:
        name: Of the model.
        version: Digest of its bundle.
        spec: Fingerprint of the features it was trained on.
        policy_version: Version of the policy that decides.
        profile: Features and score in training: what monitoring compares with.
    """

    def __init__(
        self, manifest: Manifest, version: str, *, full: bytes, small: bytes, booster: bytes, small_booster: bytes, serving: bytes,
        profile: bytes,
    ) -> None:  # fmt: skip
        self.name, self.version, self.spec = manifest.name, version, manifest.spec
        self.policy_version = manifest.policy.version
        self.manifest = manifest
        self._policy = manifest.policy
        self._calibration: dict[Tier, Platt] = dict(manifest.calibration)
        self._full, self._small = open_session(full), open_session(small)
        self._golden: Serving = decode_serving(serving)
        self.profile = Profile.decode(profile)
        self._contributions = Contributions(booster, self._golden.tables)
        self._small_contributions = Contributions(small_booster, self._golden.small_tables)
        self._reasons = Reasons(10 ** exponent(manifest.base_currency), manifest.window.maturity_ms // _DAY_MS)
        self._reason_ms = self._time_of_one_row()

    @property
    def golden_vectors(self) -> NDArray[np.float32]:
        """Real vectors of the training, float32 (n, N_FEATURES): the rows that prove a loaded model."""
        return self._golden.vectors

    def score(self, vectors: NDArray[np.float32], *, tier: Tier = Tier.FULL) -> NDArray[np.float64]:
        """Return the calibrated probability of fraud of each row, float64 (n,).

        Args:
            vectors: float32, C-contiguous, shape (n, N_FEATURES); NaN is missing.
            tier: FULL, SMALL, or DEGRADED (the full model without the state columns, whatever they hold).
        """
        if not len(vectors):
            return np.empty(0)
        if tier is Tier.DEGRADED:
            vectors = without_state(vectors)
        session = self._small if tier is Tier.SMALL else self._full
        logit: NDArray[np.float32] = session.run(["logit"], {VECTORS: vectors})[0]
        return self._calibration[tier].probability(logit[:, 0].astype(np.float64))

    @property
    def rules(self) -> Rules:
        """Lists and limits of the policy that decides."""
        return self._policy.rules

    def under(self, policy: Policy) -> "Scorer":
        """Return the same loaded model, deciding under another policy."""
        if policy == self._policy:
            return self
        found = copy(self)
        found._policy, found.policy_version = policy, policy.version  # noqa: SLF001 - of this very class
        return found

    def decide(self, probabilities: NDArray[np.float64], tier: Tier) -> list[Outcome]:
        """Return the outcome of each probability under the policy of `tier`."""
        return self._policy.decide(probabilities, tier)

    def reasons(self, vectors: NDArray[np.float32], *, budget_ms: float) -> list[tuple[Reason, ...]]:
        """Return the reasons of each row, at most five, the strongest first. For alerts only: this takes milliseconds.

        The booster explains as many rows as fit into the budget by this machine's measured time for one, the small model
        the others. Both explain themselves, not the whole ensemble.

        Args:
            vectors: float32 (k, N_FEATURES).
            budget_ms: Time for the booster's share.
        """
        n_exact = min(len(vectors), floor(budget_ms / self._reason_ms))
        exact, quick = vectors[:n_exact], vectors[n_exact:]
        parts = [part.of(rows) for part, rows in ((self._contributions, exact), (self._small_contributions, quick)) if len(rows)]
        if not parts:
            return []
        return [self._reasons.of(vector, shares) for vector, shares in zip(vectors, np.concatenate(parts), strict=True)]

    def check_golden_rows(self) -> None:
        """Score the rows that training scored.

        Raises:
            BundleRejected: The probabilities are not the same here.
        """
        for tier, expected in self._golden.probabilities.items():
            found = self.score(self._golden.vectors, tier=tier)
            largest = float(np.max(np.abs(found - expected), initial=0.0))
            if not largest <= _GOLDEN_TOLERANCE:
                raise BundleRejected(
                    f"the {tier} model of {self.name}@{self.version} scores its golden rows differently here (by {largest:.1e}): "
                    "another version of the runtime? install the locked one"
                )

    def check_reasons(self) -> None:
        """Explain some of the golden rows.

        Raises:
            BundleRejected: What the features add does not sum to the score: the reasons would be wrong.
        """
        rows = self._golden.vectors[:_EXPLAINED_ROWS]
        for name, part in (("booster", self._contributions), ("small model", self._small_contributions)):
            if not (gap := part.gap(rows)) <= _ADDITIVITY_TOLERANCE:
                raise BundleRejected(
                    f"the contributions of the {name} of {self.name}@{self.version} miss its score by {gap:.1e}: "
                    "another version of XGBoost? install the locked one"
                )

    def _time_of_one_row(self) -> float:
        rows = np.full((4, N_FEATURES), np.nan, np.float32)
        rows[: len(self._golden.vectors)] = self._golden.vectors[:4]
        self._contributions.of(rows)
        self._small_contributions.of(rows)
        start = perf_counter()
        self._contributions.of(rows)
        return max((perf_counter() - start) * 1000 / len(rows), 1e-3)
