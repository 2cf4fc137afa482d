"""`python -m tests.compile_kernels`: compile what tests need before several of their processes would each do so (20 s of a core each)."""

import numpy as np

from features.currency import Rates
from features.history import normalised
from features.offline import replay
from monitoring.counters import Counters
from monitoring.profile import Profile
from service.settings import Settings
from service.warm import observe_made_up
from simulate.generate import generate


def main() -> None:
    """Run each compiled path once; the cache keeps the code."""
    rates, settings = Rates("EUR"), Settings()
    vectors = observe_made_up(settings, rates)
    replay(normalised(generate(n_days=2, n_cards=20, seed=1), "simulated"), settings.features.definition(), rates)
    scores, names = np.zeros(len(vectors)), [str(i) for i in range(vectors.shape[1])]
    Counters(Profile.of(names, vectors, scores), "m@1").count(vectors, scores, np.zeros(len(vectors), np.int64), ["approve"] * len(vectors))


if __name__ == "__main__":
    main()
