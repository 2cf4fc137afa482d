"""What was answered and what Redis holds against an offline twin that folds the log as serving ordered it.

Everything is read back: the transactions and labels as the broker has them, the answers, the feature rows, the states. The
twin needs nothing of the worker but the places that the feature rows tell.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import redis

from domain.decision import FLAG_BITS, Alert, Flag, Score
from domain.label import decode_label
from domain.transaction import decode_transaction
from features import layout as at
from features.batch import Batch, batch_of
from features.feature_row import FeatureRow, decode_row
from features.index import FIXED
from features.keys import Keys, bucket
from features.pairs import Grouping
from features.parked import SOURCE_NAME
from service.settings import Settings
from service.tailing import Tail
from service.wiring import kafka_connection, keys_of, rates_of
from stream.topic_identity import TopicIdentity
from stream.topics import LABELS, TRANSACTIONS
from tests.e2e.entity_twin import APPROXIMATE, EntityLog, Twin, entity_log

_DUPLICATE: Final = FLAG_BITS[Flag.DUPLICATE]
_DEGRADED: Final = FLAG_BITS[Flag.DEGRADED]
_MOST_SHOWN: Final = 5
_MGET_KEYS: Final = 500
_PARKED_S: Final = 30.0
Place = tuple[bool, int, int]
"""Of a feature row: is it a transaction's, partition, offset."""


@dataclass
class Findings:
    """Figures, and every rule that was broken."""

    figures: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def require(self, found: int, rule: str, examples: Sequence[object] = ()) -> None:
        """Note a violation unless nothing was found."""
        if found:
            shown = "; for example " + ", ".join(map(str, examples[:_MOST_SHOWN])) if examples else ""
            self.violations.append(f"{found} {rule}{shown}")


class Sent(NamedTuple):
    """The consumed topics as the broker has them."""

    transactions: dict[tuple[int, int], Any]
    """(partition, offset) -> (Transaction, append time)."""
    labels: dict[tuple[int, int], Any]
    """(partition, offset) -> Label."""


class Logged(NamedTuple):
    """The feature rows, one for each record."""

    rows: dict[Place, FeatureRow]
    n_repeated: int


def examine(settings: Settings, *, most_approximate: float = 0.05, parks_labels: bool = False, has_lost_writes: bool = False) -> Findings:
    """Compare answers and states of an installation that has answered everything with what was sent.

    Args:
        settings: Of the workers.
        most_approximate: Largest share of transactions with an answer flagged `replay_approx`.
        has_lost_writes: Redis lost its newest writes, and records were applied anew in another order: the last rows count.
        parks_labels: Labels sent before their transaction must have been applied; else they may be dead letters.
    """
    found = Findings()
    sent = Sent(*(dict(part) for part in (_transactions(settings), _labels(settings))))
    _examine_answers(settings, sent, found, most_approximate)
    logged = _read_rows(settings, found, has_lost_writes=has_lost_writes)
    if has_lost_writes:
        _drop_lost_labels(settings, sent, logged)
    _examine_rows(settings, sent, logged, found, parks_labels=parks_labels)
    _examine_states(settings, sent, logged, found)
    return found


def await_parked(settings: Settings) -> None:
    """Wait until no label waits for its transaction any more, at most 30 s; the workers must be running."""
    parked, deadline_s = keys_of(settings).parked, time.monotonic() + _PARKED_S
    with redis.Redis.from_url(settings.redis.url) as client:
        while any(client.hlen(b"%b:{%d}:records" % (parked, p)) for p in range(LABELS.partitions)) and time.monotonic() < deadline_s:
            time.sleep(0.05)


def read(settings: Settings, topic: str) -> Iterator[Any]:
    """Return everything that a topic holds now, in the order of each partition."""
    connection = kafka_connection(settings)

    async def run() -> list[Any]:
        async with Tail(connection, [connection.topic(topic)], from_beginning=True, until_end=True) as tail:
            return [record async for batch in tail.batches(asyncio.Event()) for record in batch]

    return iter(asyncio.run(run()))


def _transactions(settings: Settings) -> Iterator[Any]:
    return (((r.partition, r.offset), (decode_transaction(r.value), r.timestamp)) for r in read(settings, "transactions.v1"))


def _labels(settings: Settings) -> Iterator[Any]:
    return (((r.partition, r.offset), decode_label(r.value)) for r in read(settings, "labels.v1"))


# -- answers --


def _examine_answers(settings: Settings, sent: Sent, found: Findings, most_approximate: float) -> None:
    answers: dict[tuple[int, int], list[Score]] = defaultdict(list)
    for record in read(settings, "scores.v1"):
        score = msgspec.json.decode(record.value, type=Score)
        answers[score.source].append(score)
    missing = [t.transaction_id for place, (t, _) in sent.transactions.items() if place not in answers]
    foreign = [place for place in answers if place not in sent.transactions]
    repeated = {place: scores for place, scores in answers.items() if len(scores) > 1}
    different = [s[0].transaction_id for s in repeated.values() if not _are_consistent(s)]
    flagged = Counter(flag for scores in answers.values() for flag in {f for s in scores for f in s.flags})
    n_approximate = flagged["replay_approx"]
    changed = sum(any(_essence(s) != _essence(scores[0]) for s in scores[1:]) for scores in repeated.values())
    found.figures |= {
        "transactions": len(sent.transactions), "labels": len(sent.labels), "answered": len(answers), "missing": len(missing),
        "answered again": len(repeated), "answered again, different, not flagged": len(different),
        "answered again, flagged and different": changed - len(different),
        "replay_approx": n_approximate, "replay_approx share": n_approximate / max(1, len(sent.transactions)),
        "answered in full, then degraded": sum(_is_full_first(scores) for scores in repeated.values()),
        "degraded": flagged["degraded"], "restated": flagged["restated"], "duplicate": flagged["duplicate"],
    }  # fmt: skip
    found.require(len(missing), "transactions without an answer", missing)
    found.require(len(foreign), "answers to nothing that was sent", foreign)
    found.require(len(different), "repeated answers differ without a flag", different)
    if n_approximate > most_approximate * len(sent.transactions):
        found.violations.append(f"{n_approximate} answers are flagged replay_approx, more than {most_approximate:.2%}")
    _examine_alerts(settings, found)


def _examine_alerts(settings: Settings, found: Findings) -> None:
    alerts: dict[tuple[int, int], list[Alert]] = defaultdict(list)
    for record in read(settings, "alerts.v1"):
        alert = msgspec.json.decode(record.value, type=Alert)
        alerts[alert.source].append(alert)
    different = [a[0].transaction_id for a in alerts.values() if not _are_consistent(a, has_degraded=True)]
    found.figures |= {"alerts": len(alerts), "alerts repeated, different": len(different)}
    found.require(len(different), "repeated alerts differ without a flag", different)


def _are_consistent(scores: Sequence[Score], *, has_degraded: bool = False) -> bool:
    """Tell whether all answers to one transaction are the same, but for flagged ones.

    Flagged are the degraded ones, one that restates a degraded one (itself perhaps repeated), and `replay_approx`.
    """
    known = [s for s in scores if "replay_approx" not in s.flags]
    restated = {_essence(s) for s in known if "restated" in s.flags}
    degraded = {_essence(s) for s in known if "degraded" in s.flags}
    full = {_essence(s) for s in known if not {"restated", "degraded"} & set(s.flags)}
    return len(full) <= 1 and len(degraded) <= 1 and len(restated) <= (has_degraded or bool(degraded))


def _is_full_first(scores: Sequence[Score]) -> bool:
    """Tell whether an answer from the state was followed by one without: told by its flag, but worth a look."""
    return "degraded" not in scores[0].flags and any("degraded" in s.flags for s in scores[1:])


def _essence(score: Score) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(score, scored_at_ms=0))


# -- feature rows --


def _read_rows(settings: Settings, found: Findings, *, has_lost_writes: bool) -> Logged:
    rows: dict[Place, FeatureRow] = {}
    n_repeated = 0
    different: list[str] = []
    for record in read(settings, "features.v1"):
        row = decode_row(record.value)
        place = (row.kind == at.TRANSACTION, row.partition, row.offset)
        known = rows.get(place)
        if known is None or _knows_more(row, known, has_lost_writes=has_lost_writes):
            rows[place] = row
        n_repeated += known is not None
        if known is not None and not (known.flags | row.flags) & (APPROXIMATE | _DEGRADED) and known != row:
            different.append(row.transaction_id)
    found.figures["feature rows"] = len(rows)
    found.figures["feature rows repeated, different"] = len(different)
    found.require(len(different) * (not has_lost_writes), "repeated feature rows differ without a flag", different)
    return Logged(rows, n_repeated)


def _knows_more(row: FeatureRow, known: FeatureRow, *, has_lost_writes: bool) -> bool:
    """Tell whether a later row says better where its record is now: with exact places, and of what Redis did not lose."""
    if row.flags & APPROXIMATE:
        return _is_empty(known)
    return has_lost_writes or _is_empty(known) or bool(known.flags & APPROXIMATE)


def _is_empty(row: FeatureRow) -> bool:
    """Tell whether a row says nothing about places: that of an answer given without the state."""
    return bool(row.flags & _DEGRADED) and max(row.positions) < 0


def _drop_lost_labels(settings: Settings, sent: Sent, logged: Logged) -> None:
    """Drop the rows of labels that changed something before Redis lost it and nothing when they were applied anew."""
    keys = keys_of(settings)
    with redis.Redis.from_url(settings.redis.url) as client:
        sources = Sources(_source_ids(settings, keys, client))
        for place in [place for place in logged.rows if not place[0]]:
            row = logged.rows[place]
            known = dict(_noted_labels(client.get(keys.index(row.transaction_id)) or b""))
            if known.get(sources.own(place)) == 0:
                del logged.rows[place]


def _noted_labels(entry: bytes) -> Iterator[tuple[int, int]]:
    """Yield source and change of each label in an index entry."""
    place = FIXED.itemsize
    for _ in range(4):
        place += 2 + int.from_bytes(entry[place : place + 2], "little")
    for a in range(place, len(entry) - 23, 24):
        yield int.from_bytes(entry[a : a + 8], "little"), entry[a + 17] - 1


def _examine_rows(settings: Settings, sent: Sent, logged: Logged, found: Findings, *, parks_labels: bool) -> None:
    """Every transaction has a row; of several with one id, one counts; labels add up to what the last one says."""
    rows = logged.rows
    missing = [t.transaction_id for (p, o), (t, _) in sent.transactions.items() if (True, p, o) not in rows]
    found.require(len(missing), "transactions without a feature row", missing)
    counted = Counter(row.transaction_id for place, row in rows.items() if place[0] and not row.flags & _DUPLICATE)
    twice = [name for name, n in counted.items() if n > 1]
    found.require(len(twice), "transaction ids counted more than once", twice)
    dead = {(int(h["partition"]), int(h["offset"])) for h in (dict(r.headers) for r in read(settings, "labels.dead.v1"))}
    found.figures["labels dead-lettered"] = len(dead)
    if parks_labels:  # a load that stops early leaves labels whose transaction would have come in its next batch
        ids = {t.transaction_id for t, _ in sent.transactions.values()}
        wrongly = sorted(place for place in dead if sent.labels[place].transaction_id in ids)
        found.require(len(wrongly), "labels of transactions that were sent are dead letters", wrongly)
    expected = {name: int(value) for name, value in _in_force(sent).items()}
    changes: Counter[str] = Counter()
    for place, row in rows.items():
        if not place[0]:
            changes[row.transaction_id] += 1 if row.kind == at.FRAUD else -1
    unsure = {sent.labels[place].transaction_id for place in dead}  # a dead letter may have come again, and in time
    wrong = [name for name in (expected.keys() | changes.keys()) - unsure if expected.get(name, 0) != changes[name]]
    found.figures["labels applied"] = sum(not place[0] for place in rows)
    found.require(len(wrong), "transactions whose applied labels are not what the last label says", wrong)


def _in_force(sent: Sent) -> dict[str, bool]:
    latest: dict[str, tuple[tuple[int, int], bool]] = {}
    for place, label in sent.labels.items():
        mine = ((label.label_time_ms, place[1]), label.is_fraud)
        latest[label.transaction_id] = max(latest.get(label.transaction_id, mine), mine)
    return {name: is_fraud for name, (_, is_fraud) in latest.items()}


# -- states --


def _examine_states(settings: Settings, sent: Sent, logged: Logged, found: Findings) -> None:
    definition = settings.features.definition()
    keys = keys_of(settings)
    rates = rates_of(settings)
    with redis.Redis.from_url(settings.redis.url) as client:
        sources = Sources(_source_ids(settings, keys, client))
        sources.find_parked(client, keys, logged)
        expected = _entity_logs(settings, sent, logged, keys, sources)
        blobs = _states(client, keys, sorted(expected))
        kept = set(client.scan_iter(match=keys.state_pattern, count=5_000))
        n_bad = sum(1 for _ in client.scan_iter(match=keys.bad + b"*", count=5_000))
    twin = Twin(rates.major, definition.maturity_days * 86_400)
    wrong: dict[str, list[bytes]] = defaultdict(list)
    n_vectors = n_different = n_ordered = 0
    for key, log in expected.items():
        n_ordered += log.is_ordered
        checked, different = twin.fold(log)
        n_vectors, n_different = n_vectors + checked, n_different + different
        if different:
            wrong["have served vectors that differ from the twin's"].append(key)
        for what in twin.compare(log, blobs[key]):
            wrong[what].append(key)
    found.figures |= {
        "entities": len(expected), "entities fully ordered": n_ordered, "entities that differ": len({k for w in wrong.values() for k in w}),
        "served vectors compared (per entity)": n_vectors, "served vectors different": n_different, "states set aside": n_bad,
    }  # fmt: skip
    for what, keys_wrong in wrong.items():
        found.require(len(keys_wrong), f"entities {what}", keys_wrong)
    found.require(len(kept - expected.keys()), "states of entities that were never seen", sorted(kept - expected.keys()))
    found.require(n_bad, "states were set aside as broken")


def _states(client: redis.Redis, keys: Keys, wanted: Sequence[bytes]) -> dict[bytes, bytes]:
    blobs: dict[bytes, bytes] = {}
    for a in range(0, len(wanted), _MGET_KEYS):
        part = wanted[a : a + _MGET_KEYS]
        blobs.update(zip(part, (blob or b"" for blob in client.mget(part)), strict=True))
    return blobs


class Sources:
    """Under which source each record counts in the states."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        """Take name:partition -> registered id; the names are TRANSACTIONS, LABELS and SOURCE_NAME."""
        self._ids = ids
        self._parked: dict[Place, int] = {}

    def of(self, place: Place) -> int:
        return self._parked.get(place) or self.own(place)

    def own(self, place: Place) -> int:
        is_transaction, partition, offset = place
        return self._ids[f"{TRANSACTIONS.name if is_transaction else LABELS.name}:{partition}"] << at.OFFSET_BITS | offset

    def find_parked(self, client: redis.Redis, keys: Keys, logged: Logged) -> None:
        """Find the labels that waited for their transaction: they count under the number that carries them."""
        places = [place for place in logged.rows if not place[0]]
        names = [b"%b:{%d}:%d" % (keys.parked, bucket(logged.rows[place].transaction_id), self.own(place)) for place in places]
        fates = [fate for a in range(0, len(names), _MGET_KEYS) for fate in client.mget(names[a : a + _MGET_KEYS])]
        for place, fate in zip(places, fates, strict=True):
            if fate is not None and fate.isdigit():
                self._parked[place] = self._ids[f"{SOURCE_NAME}:{place[1]}"] << at.OFFSET_BITS | int(fate)


def _source_ids(settings: Settings, keys: Keys, client: redis.Redis) -> dict[str, int]:
    """Return topic:partition -> registered source id."""
    connection = kafka_connection(settings)
    names = {connection.topic(topic): topic.name for topic in (TRANSACTIONS, LABELS)}
    identity = TopicIdentity(connection, tuple(names))
    of_uuid = {uuid: names[topic] for topic, uuid in asyncio.run(identity.uuids()).items()} | {SOURCE_NAME: SOURCE_NAME}
    identity.close()
    found = {}
    for name, number in client.hgetall(keys.sources).items():
        uuid, _, partition = name.decode().rpartition(":")
        if uuid in of_uuid:
            found[f"{of_uuid[uuid]}:{partition}"] = int(number)
    return found


def _entity_logs(settings: Settings, sent: Sent, logged: Logged, keys: Keys, sources: "Sources") -> dict[bytes, EntityLog]:
    """Return what each entity's state should hold, by its key."""
    transactions = [(p, logged.rows[True, *p]) for p in sorted(sent.transactions) if (True, *p) in logged.rows]
    transactions = [(p, row) for p, row in transactions if not row.flags & _DUPLICATE]
    labels = sorted((place[1:], row) for place, row in logged.rows.items() if not place[0])
    of_id = {t.transaction_id: t for t, _ in sent.transactions.values()}
    batches = []
    for is_transaction, rows in ((True, transactions), (False, labels)):
        source = np.array([sources.of((is_transaction, *place)) for place, _ in rows], np.int64)
        if is_transaction:
            chosen = [sent.transactions[p] for p, _ in rows]
            append_ms = np.array([ms for _, ms in chosen], np.int64)
            batch = batch_of([t for t, _ in chosen], source, append_ms, rates_of(settings))
        else:
            batch = _label_batch(source, [row for _, row in rows], [of_id[row.transaction_id] for _, row in rows])
        batches.append((batch, [row for _, row in rows]))
    parts: dict[bytes, list[tuple[int, Any, list[FeatureRow]]]] = defaultdict(list)
    grouping = Grouping(keys)
    for batch, rows in batches:
        pairs = grouping.of(batch)
        records = pairs.records(batch, np.array([row.kind for row in rows], np.int64))
        for k, (a, b) in enumerate(pairwise(pairs.key_start.tolist())):
            parts[pairs.keys[k]].append((int(pairs.key_kind[k]), records[a:b], [rows[i] for i in pairs.row[a:b].tolist()]))
    return {key: entity_log(found) for key, found in parts.items()}


def _label_batch(source: np.ndarray, rows: Sequence[FeatureRow], transactions: Sequence[Any]) -> Batch:
    n = len(rows)
    nothing = np.full(n, at.NO_PLACE, np.int16)
    return Batch(
        source, np.array([row.time_ms for row in rows], np.int64), np.zeros(n, np.int64), nothing, nothing, np.empty((0, 3), np.int32),
        np.zeros(n, np.uint16), ([t.card_id for t in transactions], [t.merchant_id for t in transactions]),
    )  # fmt: skip
