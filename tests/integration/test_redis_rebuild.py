"""A rebuild leaves the same on a cluster as on a single server."""

import asyncio

import pytest

from domain.errors import ConfigError
from features.keys import N_BUCKETS
from features.redis_markers import RedisMarkers
from features.redis_rebuild import rebuild_states, set_positions
from features.redis_wire import Call
from tests.integration.redis_nodes import Site
from tests.parity.test_offline import HOUR_MS, KEYS, RATES, history_of

HISTORY = history_of(300, 3, gap_ms=HOUR_MS)
END_MS = int(HISTORY["event_time_ms"][-1]) + 1
INDEX_PREFIX = KEYS.index("t").partition(b"{")[0]


async def rebuild(site: Site, *, replace: bool = False) -> tuple:
    wire = site.new_wire()
    try:
        return await rebuild_states(wire, KEYS, HISTORY, RATES, end_ms=END_MS, index_days=400, replace=replace)
    finally:
        await wire.close()


async def write(site: Site, names: list[bytes]) -> None:
    wire = site.new_wire()
    await wire.run([Call(name, (("SET", name, "x"),)) for name in names])
    await wire.close()


def contents(site: Site) -> dict[bytes, bytes]:
    """Return states and index, wherever they lie."""
    found = {}
    for master in site.masters:
        for key in master.ask("KEYS", "*"):
            if key.startswith((KEYS.states, INDEX_PREFIX)):
                assert key not in found
                found[key] = master.ask("GET", key)
    return found


def test_states_and_index_are_the_same_bytes_on_both(single_site, cluster_site):
    built = [asyncio.run(rebuild(site)) for site in (single_site, cluster_site)]
    single, cluster = contents(single_site), contents(cluster_site)

    assert built[0] == built[1]
    assert single == cluster
    assert len(cluster) == built[1].entities + built[1].index_entries > 300
    assert all(len(master.ask("KEYS", KEYS.state_pattern)) > 0 for master in cluster_site.masters)


def test_states_of_any_node_are_refused_unless_they_are_to_be_replaced(site):
    asyncio.run(rebuild(site))
    before = contents(site)
    with pytest.raises(ConfigError, match="--replace"):
        asyncio.run(rebuild(site))
    extra = [KEYS.states + b"{%d}:c:of nobody" % bucket for bucket in range(N_BUCKETS)]
    asyncio.run(write(site, extra))
    asyncio.run(rebuild(site, replace=True))

    assert contents(site) == before


def test_positions_are_left_on_every_node_in_place_of_all_others(site):
    async def body():
        wire = site.new_wire()
        markers = RedisMarkers(wire, KEYS, "group")
        await markers.write({300: (17, 5), 301: (9, 5)})
        assert await markers.is_emptied()
        await set_positions(wire, KEYS, "group", {300: (3, 4)})
        assert not await markers.is_emptied()
        assert await markers.read([300, 301]) == {300: (3, 4), 301: None}
        assert not [key for key in site.all_keys() if key.endswith(b":301")]
        await wire.close()

    asyncio.run(body())
