"""The last alerts: read from `alerts.v1` without a consumer group, from the last 50 on."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from domain.card_mask import mask_card_numbers
from domain.decision import Alert
from domain.errors import ConfigError, Unavailable
from service.alert_text import money
from service.tailing import Tail
from service.web.answers import Notice
from service.web.live_answers import AlertAnswer, AlertReason
from stream.connection import KafkaConnection
from stream.records import Record
from stream.topics import ALERTS

N_LAST: Final = 50
_RETRY_S: Final = 3.0
_CHECK_S: Final = 5.0
_log = structlog.get_logger()


class LastAlerts:
    """The newest alerts, each once."""

    def __init__(self) -> None:
        self._last: list[AlertAnswer] = []
        self._next: dict[int, int] = {}
        self._decoder = msgspec.json.Decoder(Alert)

    def take(self, records: Iterable[Record]) -> list[AlertAnswer]:
        """Take records and return those that are new, in their order; a record that is no alert is passed over."""
        found = []
        for record in records:
            if record.offset < self._next.get(record.partition, 0):
                continue
            self._next[record.partition] = record.offset + 1
            try:
                alert = self._decoder.decode(record.value or b"")
            except msgspec.DecodeError:
                continue
            found.append(_answer(alert, record.timestamp))
        self._last = sorted([*self._last, *found], key=lambda alert: alert.at_ms)[-N_LAST:]
        return found

    def newest_first(self) -> list[AlertAnswer]:
        """Return at most N_LAST alerts."""
        return self._last[::-1]


class AlertTail:
    """Follows the topic, through outages of Kafka too."""

    def __init__(
        self, connection: KafkaConnection, last: LastAlerts, *,
        on_alerts: Callable[[Sequence[AlertAnswer]], None], on_trouble: Callable[[Notice | None], None],
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            connection: Where Kafka is.
            last: What is kept.
            on_alerts: Told each new alert, but not those that were there before the first reading.
            on_trouble: Told when Kafka cannot be read, and None when it can again.
        """
        self._connection = connection
        self._topic = connection.topic(ALERTS)
        self._last = last
        self._on_alerts = on_alerts
        self._on_trouble = on_trouble
        self._is_first = True

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set."""
        while not stop.is_set():
            try:
                await self._read(stop)
            except ConfigError as error:
                self._on_trouble(Notice(state="attention", text=f"No alerts can be shown: {error}."))
            except Unavailable as error:
                self._on_trouble(Notice(state="attention", text=f"New alerts cannot be shown now, the old ones stay: {error}."))
            except Exception as error:  # noqa: BLE001 - a client library's surprise must not end the page; it is logged and tried again
                _log.warning("alerts_unreadable", error=repr(error))
                self._on_trouble(Notice(state="attention", text="New alerts cannot be read from Kafka now; the dashboard tries again."))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RETRY_S)

    async def _read(self, stop: asyncio.Event) -> None:
        async with Tail(self._connection, [self._topic], from_beginning=False, until_end=False, n_last=N_LAST) as tail:
            self._on_trouble(None)
            checking = asyncio.create_task(self._check(tail, stop))
            n_old = tail.n_ahead if self._is_first else 0
            self._is_first = n_old > 0
            try:
                async for records in tail.batches(stop):
                    self._take(records)
                    n_old -= len(records)
                    self._is_first = self._is_first and n_old > 0
            finally:
                checking.cancel()

    async def _check(self, tail: Tail, stop: asyncio.Event) -> None:
        """Tell whether Kafka still answers."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _CHECK_S)
            try:
                await tail.check()
                self._on_trouble(None)
            except Unavailable as error:
                self._on_trouble(Notice(state="attention", text=f"New alerts cannot be shown now, the old ones stay: {error}."))

    def _take(self, records: Sequence[Record]) -> None:
        found = self._last.take(records)
        if found and not self._is_first:
            self._on_alerts(found)


def _answer(alert: Alert, appended_ms: int) -> AlertAnswer:
    return AlertAnswer(
        transaction_id=mask_card_numbers(alert.transaction_id), card_id=mask_card_numbers(alert.card_id), at_ms=appended_ms,
        event_time_ms=alert.event_time_ms, amount_minor=alert.amount_minor, currency=alert.currency,
        amount=money(alert.amount_minor, alert.currency), merchant_id=mask_card_numbers(alert.merchant_id), decision=alert.decision,
        probability=alert.probability, model=alert.model, tier=alert.tier.value, flags=alert.flags,
        reasons=[AlertReason(code=r.code, text=r.text, contribution=r.contribution) for r in alert.reasons],
        rule=None if alert.rule is None else mask_card_numbers(alert.rule),
    )  # fmt: skip
