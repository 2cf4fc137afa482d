"""A state that nobody touches ends by itself, later than the idleness after which its entity begins anew."""

import asyncio

import numpy as np

from features import layout as at
from features.index_budget import IndexBudget
from features.keys import STATE_TTL_S, Keys
from features.redis_log import RedisLog

KEYS = Keys("weir:", "0" * 16)
STATE = KEYS.state(at.CARD, "card")
DAY_MS = 86_400_000
MONDAY_MS = 2_000 * 7 * DAY_MS
"""Begin of one of the weeks in which states are renewed."""


def record(time_ms: int) -> bytes:
    found = np.zeros(1, at.RECORD)
    found["time_ms"] = time_ms
    return found.tobytes()


def test_the_time_to_live_is_set_at_first_and_anew_once_a_week(site):
    async def body():
        wire, client = site.new_wire(), site.new_client()
        log = RedisLog(wire, KEYS, IndexBudget(0, 1))

        async def is_renewed_at(time_ms: int) -> bool:
            await client.expire(STATE, 1_000)
            await log.append([STATE], [record(time_ms)])
            await log.append([KEYS.state(at.CARD, "other")], [record(time_ms)])  # what is to be renewed goes with the next call
            return STATE_TTL_S - 60 < await client.ttl(STATE) <= STATE_TTL_S

        assert await is_renewed_at(MONDAY_MS)
        assert not await is_renewed_at(MONDAY_MS + 1)
        assert not await is_renewed_at(MONDAY_MS + 6 * DAY_MS)
        assert await is_renewed_at(MONDAY_MS + 7 * DAY_MS)
        assert not await is_renewed_at(MONDAY_MS + 8 * DAY_MS)
        assert await is_renewed_at(MONDAY_MS + 90 * DAY_MS)
        await wire.close()
        await client.aclose()

    asyncio.run(body())
