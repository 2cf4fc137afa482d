"""What becomes of an incident: a record of `control.v1`, a webhook, a candidate in training; each told every new word once.

What a listener was told last is kept beside the hours: a listener that did not answer is told later, also after a restart,
and at least once. A word that was overtaken by a newer one is not told any more.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final, Protocol

import msgspec
import structlog

from domain.control_event import ControlEvent
from domain.errors import WeirError
from domain.retraining_event import RetrainingEvent
from service.sending import Sender
from service.web.drift_answers import Incident
from service.webhook import Webhook
from stream.connection import KafkaConnection
from stream.topics import CONTROL

_log = structlog.get_logger()

Listener = Callable[[ControlEvent], Awaitable[bool]]
"""Is told; returns whether that is done."""


class Memory(Protocol):
    """Remembers what a listener was told."""

    async def incidents(self) -> list[Incident]:
        """Return the newest word of every incident."""

    async def told(self, listener: str, incident_id: str) -> bytes | None:
        """Return what a listener was told last."""

    async def tell(self, listener: str, incident_id: str, content: bytes) -> None:
        """Remember it."""


class Alarms:
    """Tells listeners by name."""

    def __init__(self, memory: Memory, listeners: dict[str, Listener], clock_ms: Callable[[], int]) -> None:
        self._memory = memory
        self._listeners = listeners
        self._clock_ms = clock_ms

    async def pass_on(self) -> int:
        """Tell each listener what it does not know yet; return how many words are still to be told."""
        n_left = 0
        for incident in await self._memory.incidents():
            content = msgspec.json.encode(incident)
            for name, listener in self._listeners.items():
                if await self._memory.told(name, incident.id) == content:
                    continue
                if await self._is_done(name, listener, incident):
                    await self._memory.tell(name, incident.id, content)
                else:
                    n_left += 1
        return n_left

    async def _is_done(self, name: str, listener: Listener, incident: Incident) -> bool:
        try:
            return await listener(control_event(incident, self._clock_ms()))
        except WeirError as error:
            _log.warning("alarm_not_passed_on", listener=name, incident=incident.id, error=str(error))
            return False


def control_event(incident: Incident, now_ms: int) -> ControlEvent:
    """Return the record of an incident's newest word."""
    return ControlEvent(
        event="incident", id=incident.id, at_ms=now_ms, state="open" if incident.ended_ms is None else "ended", kind=incident.kind,
        severity=incident.severity, model=incident.model, features=incident.features, started_ms=incident.started_ms,
        ended_ms=incident.ended_ms, sentence=incident.sentence, advice=incident.advice, runbook=incident.runbook,
    )  # fmt: skip


def to_kafka(connection: KafkaConnection) -> Listener:
    """Return a listener that writes `control.v1`."""

    async def listener(event: ControlEvent) -> bool:
        await write_control(connection, event)
        return True

    return listener


async def write_control(connection: KafkaConnection, event: ControlEvent | RetrainingEvent) -> None:
    """Write one record of `control.v1`, under its id.

    Raises:
        Unavailable: Kafka does not take it.
    """
    topic: Final = connection.topic(CONTROL)
    async with Sender(connection) as sender:
        await sender.require(topic)
        await sender.send(topic, [event.id.encode()], [msgspec.json.encode(event)])
        await sender.flush()


def to_webhook(webhook: Webhook) -> Listener:
    """Return a listener that posts."""

    async def listener(event: ControlEvent) -> bool:
        word = msgspec.json.encode(msgspec.structs.replace(event, at_ms=0))  # told again later it is the same word
        return await webhook.deliver(sha256(word).hexdigest()[:32], msgspec.json.encode(event))

    return listener
