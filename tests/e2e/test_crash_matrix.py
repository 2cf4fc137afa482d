"""A small crash matrix: one kill at each side of the steps that a worker goes through."""

import pytest

from tests.e2e.crash_matrix import EVERY_POINT, Driver, Storm, figures, table
from tests.e2e.crash_world import make_world
from tests.e2e.exactness import examine


@pytest.mark.timeout(240)
def test_workers_killed_at_every_step_lose_nothing_and_count_nothing_twice(installation):
    world = make_world(6_000, seed=3, batch_size=40, again_share=0.01)
    driver = Driver(installation, world, Storm(len(EVERY_POINT), EVERY_POINT, most_chunks=3, chunk_size=30, rebalance_every=6))
    driver.run()
    found = examine(installation.settings, parks_labels=True)
    print(table(driver), figures(found), sep="\n")

    assert driver.unreached == [], table(driver)
    assert found.violations == [], figures(found)
    assert set(driver.exits) <= {0}, table(driver)
