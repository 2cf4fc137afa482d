"""A bundle opened to explain: usual ranges, thresholds and contributions, without the graphs that score."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domain.decision import Tier
from models.bundle import BOOSTER, PROFILE, SERVING, SMALL_BOOSTER, verify_bundle
from models.contributions import Contributions
from models.manifest import Manifest
from models.missing import without_state
from models.serving import decode_serving
from monitoring.profile import Profile
from monitoring.usual_range import UsualRange, usual_ranges


class Explainer:
    """What a model's bundle tells about an answer of it. Immutable.

    Attributes:
        manifest: Of the bundle.
        usual: Usual range of each feature, by name.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        """Verify and open a bundle.

        Raises:
            BundleRejected: Unsigned, altered, incomplete or too new.
        """
        self.manifest: Manifest
        self.manifest, _, files = verify_bundle(folder, key)
        self.usual: dict[str, UsualRange] = usual_ranges(Profile.decode(files[PROFILE]))
        tables = decode_serving(files[SERVING])
        self._full = Contributions(files[BOOSTER], tables.tables)
        self._small = Contributions(files[SMALL_BOOSTER], tables.small_tables)

    def contributions(self, vector: NDArray[np.float32], tier: Tier) -> NDArray[np.float32]:
        """Return what each feature added to the booster's log odds, float32 (N_FEATURES,).

        It explains the booster (of tier SMALL the small model), as an alert's reasons do, not the whole ensemble.

        Args:
            vector: Raw vector as served, float32 (N_FEATURES,).
            tier: That answered. DEGRADED saw the event's own features only.
        """
        rows = vector[np.newaxis]
        if tier is Tier.DEGRADED:
            rows = without_state(rows)
        found: NDArray[np.float32] = (self._small if tier is Tier.SMALL else self._full).of(rows)[0]
        return found
