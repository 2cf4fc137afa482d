"""What the decision index in Redis knows of one transaction: where it stands, its entities, its first answer, its labels."""

from typing import Any, Final, NamedTuple

from domain.decision import flag_names
from domain.errors import Unavailable
from features import layout as at
from features.index import Entry, IndexedLabel, decode_entry, decode_labels, is_applied
from features.keys import Keys
from features.redis_cluster_wire import open_wire
from features.redis_wire import Call, Command, Wire
from service.settings import Settings
from service.transaction_records import Fields, Place
from service.wiring import keys_of, redis_client
from stream.lineup import Release

_ENTITIES: Final = ("card_id", "merchant_id", "device_id", "ip")


class Indexed(NamedTuple):
    """An entry, its numbers resolved."""

    entry: Entry
    is_applied: bool
    place: Place | None
    """None: the entry was rebuilt from a history, which does not say."""
    release: str
    """By what the answer was given, see `stream.lineup.Release`; empty: not known."""
    labels: list[tuple[IndexedLabel, Place | None]]
    """Each with its place in `labels.v1`."""

    def transaction(self, transaction_id: str) -> Fields:
        """Return what the entry holds of what arrived."""
        known = {name: value for name, value in zip(_ENTITIES, self.entry.entities, strict=True) if value is not None}
        return {"transaction_id": transaction_id, **known, "event_time_ms": self.entry.event_ms}

    def score(self, transaction_id: str) -> Fields | None:
        """Return what the entry holds of the first answer."""
        answer = self.entry.answer
        if answer is None:
            return None
        found: Fields = {"transaction_id": transaction_id, "probability": answer.probability, "decision": answer.outcome}
        found |= {"tier": answer.tier.value, "flags": list(flag_names(answer.flags))}
        if self.release:
            by = Release.decode(self.release)
            found |= {"model": by.model, "policy": by.policy, "variant": by.variant} | ({"rule": by.rule} if by.rule else {})
        if self.place is not None:
            found["source"] = [self.place.partition, self.place.offset]
        return found


async def find_in_index(settings: Settings, transaction_id: str) -> Indexed | None:
    """Return what the index holds of a transaction; None: it does not know it.

    Raises:
        ConfigError: No Redis is set, and no embedded one runs.
        Unavailable: Redis does not answer.
    """
    client = redis_client(settings)
    try:
        wire = await open_wire(client, n_lines=1)
        try:
            return await _find(wire, keys_of(settings), transaction_id)
        finally:
            await wire.close()
    except OSError as error:
        raise Unavailable(f"Redis does not answer (redis.url): {error}") from error
    finally:
        await client.aclose()


async def _find(wire: Wire, keys: Keys, transaction_id: str) -> Indexed | None:
    key = keys.index(transaction_id)
    [[data]] = await wire.run([Call(key, (("GET", key),))])
    if data is None:
        return None
    entry, labels = decode_entry(data), decode_labels(data)
    places = {int(number): _place(field) for field, number in (await _hash(wire, keys.sources)).items() if b":" in field}
    releases = {int(number): name.decode() for name, number in (await _hash(wire, keys.releases)).items()}
    release = releases.get(entry.answer.release, "") if entry.answer is not None else ""
    placed = [(label, _at(label.source, places)) for label in labels]
    return Indexed(entry, is_applied(data), _at(entry.source, places), release, placed)


async def _hash(wire: Wire, key: bytes) -> dict[bytes, bytes]:
    command: Command = ("HGETALL", key)
    [[found]] = await wire.run([Call(key, (command,))])
    pairs: dict[Any, Any] = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
    return {field: value for field, value in pairs.items() if field != b"registered"}


def _place(field: bytes) -> tuple[str, int]:
    """Return topic UUID and partition of a registered source."""
    uuid, _, partition = field.decode().rpartition(":")
    return uuid, int(partition)


def _at(source: int, places: dict[int, tuple[str, int]]) -> Place | None:
    found = places.get(source >> at.OFFSET_BITS)
    return None if found is None else Place(found[0][:8], found[1], source & at.OFFSET_MASK)
