"""A steady load of transactions while a test disturbs the service."""

import threading
from types import TracebackType
from typing import Self

from kafka import KafkaProducer

from tests.e2e.crash_world import World
from tests.e2e.installation import Installation

#: Time between two batches.
_EVERY_S = 0.25


class Load:
    """Sends a world's batches in a thread, four a second, until stopped or at its end. Use as a context manager."""

    def __init__(self, installation: Installation, world: World) -> None:
        self.n_transactions = 0
        """Sent and confirmed so far."""
        self._installation = installation
        self._world = world
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> int:
        """Stop, and return how many transactions were sent.

        Raises:
            BaseException: What went wrong in the thread.
        """
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self.n_transactions

    def _run(self) -> None:
        try:
            self._send_all()
        except BaseException as error:  # noqa: BLE001 - told to the test by `stop`
            self._failure = error

    def _send_all(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._installation.bootstrap, acks="all")
        for batch in range(self._world.n_batches):
            for name, records in (
                ("labels.v1", self._world.early[batch]),
                ("transactions.v1", self._world.transactions(batch)),
                ("labels.v1", self._world.due[batch - 8] if batch >= 8 else ()),
            ):
                for key, value in records:
                    producer.send(self._installation.topic(name), key=key, value=value)
            producer.flush()
            self.n_transactions += len(self._world.transactions(batch))
            if self._stop.wait(_EVERY_S):
                break
        producer.close()
