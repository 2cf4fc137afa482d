"""What workers count in Redis is what they answered, once each, whichever of them did and whatever happened to them."""

import asyncio
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from redis.asyncio import Redis

from domain.decision import Score
from features.feature_row import decode_row
from features.redis_wire import SingleWire
from models.bundle import PROFILE
from models.registry import Registry
from monitoring.packed import HOUR_MS, MINUTE_MS, Counts, unpack
from monitoring.profile import Profile, count
from service.redis_fleet import FleetStorage
from tests.e2e.installation import Installation, until


def fleet(installation: Installation, ask):
    """Return what `ask(storage)` finds out."""

    async def body():
        wire = SingleWire(Redis.from_url(installation.settings.redis.url))
        try:
            return await ask(FleetStorage(wire, installation.settings.redis.prefix))
        finally:
            await wire.close()

    return asyncio.run(body())


def counted(installation: Installation) -> dict[str, Counts]:
    """Return "h<hour>" and "m<minute>" -> the sum of all workers."""

    async def ask(storage):
        found = {}
        for model, worker in await storage.counted():
            for letter, read in (("h", storage.hours), ("m", storage.changed)):
                for span, content in (await read(model, worker, 0))[1].items():
                    counts, name = unpack(content), f"{letter}{span}"
                    found[name] = found[name] + counts if name in found else counts
        return found

    return fleet(installation, ask)


def defined(installation: Installation) -> dict[str, Counts]:
    """Return the same, from the topics and the profile's own definition."""
    registry = Registry(Path(installation.settings.model.registry))
    profile = Profile.decode((registry.resolve("champion") / PROFILE).read_bytes())
    scores = [msgspec.json.decode(record.value, type=Score) for record in installation.records("scores.v1")]
    first = {score.source: score for score in scores if "duplicate" not in score.flags}
    vectors = {(row.partition, row.offset): row.vector for row in map(decode_row, (r.value for r in installation.records("features.v1")))}
    rows = defaultdict(list)
    for source, score in first.items():
        rows[f"h{score.event_time_ms // HOUR_MS}"].append((source, score))
        rows[f"m{score.event_time_ms // MINUTE_MS}"].append((source, score))
    found = {}
    for span, of_span in rows.items():
        matrix = np.stack([np.frombuffer(vectors[source], np.float32) for source, _ in of_span]).astype(np.float64)
        columns = [*matrix.T, np.array([score.probability for _, score in of_span])]
        bins = np.stack([count(column, edges) for column, edges in zip(columns, profile.edges, strict=True)])
        found[span] = Counts(len(of_span), sum(score.decision != "approve" for _, score in of_span), bins)
    return found


def same(found: dict[str, Counts], expected: dict[str, Counts]) -> bool:
    return found.keys() == expected.keys() and all(
        found[span][:2] == counts[:2] and np.array_equal(found[span].bins, counts.bins) for span, counts in expected.items()
    )


def hours(found: dict[str, Counts]) -> dict[str, Counts]:
    return {span: counts for span, counts in found.items() if span.startswith("h")}


def send_slowly_at_last(installation: Installation, history: pl.DataFrame, n: int) -> None:
    """Send the first `n` rows and wait for their count, at last by three hours of events: minutes are told of slow streams."""
    hours_of = history["event_time_ms"][:n].to_numpy() // (3 * HOUR_MS)
    begin = 0
    for end in [*(np.flatnonzero(np.diff(hours_of)) + 1).tolist()[-2:], n]:
        installation.send_history(history, begin, end)
        until(
            lambda end=end: sum(counts.n_rows for counts in hours(counted(installation)).values()) == end,
            "not counted: " + installation.logs(),
        )
        begin = end


def test_what_is_counted_is_what_was_answered_and_duplicates_and_repeats_are_not(installation, trained):
    streamed = trained.history[:900]
    first = installation.start_worker()
    send_slowly_at_last(installation, streamed, 600)
    installation.send_history(streamed, 590, 600)  # a producer's duplicates
    until(lambda: installation.committed("transactions.v1") == 610, "not committed: " + installation.logs())

    expected = hours(defined(installation))
    until(lambda: same(hours(counted(installation)), expected), "the counters are not those of the answers: " + installation.logs())
    assert sum(counts.n_rows for counts in expected.values()) == 600
    found, everything = counted(installation), defined(installation)
    minutes = [span for span in found if span.startswith("m")]
    assert minutes
    assert same({span: found[span] for span in minutes}, {span: everything[span] for span in minutes})

    states = fleet(installation, lambda storage: storage.workers())
    assert [(state.transactions, state.partitions, state.lag, state.redis, state.problem) for state in states] == [
        (600, [0, 1, 2, 3], 0, "ok", "")
    ]
    [state] = states
    answers = [msgspec.json.decode(record.value, type=Score) for record in installation.records("scores.v1")]
    assert state.decisions == Counter(f"{score.decision}:full" for score in answers if "duplicate" not in score.flags)
    assert state.flags == Counter(flag for score in answers for flag in score.flags)
    assert state.flags["duplicate"] == 10
    assert state.event_ms == streamed["event_time_ms"][:600].max()
    assert sum(state.latency_counts) == 610
    assert state.metrics.startswith("http://127.0.0.1:")

    first.kill()  # its counters stay; whatever it had answered and not committed is not counted again
    first.wait()
    second = installation.start_worker()
    installation.send_history(streamed, 600, 900)
    until(lambda: installation.committed("transactions.v1") == 910, "not committed: " + installation.logs())
    expected = hours(defined(installation))
    until(lambda: same(hours(counted(installation)), expected), "the counters are not those of the answers: " + installation.logs())
    assert sum(counts.n_rows for counts in expected.values()) == 900
    assert len({worker for _, worker in fleet(installation, lambda storage: storage.counted())}) == 2

    assert installation.stop(second) == 0
    remaining = fleet(installation, lambda storage: storage.workers())
    assert [state.worker for state in remaining] == [states[0].worker], "the one that left said so; the killed one is known as gone later"
    assert same(hours(counted(installation)), expected)
