"""Which topic a name means: a topic deleted and created anew has another UUID, though its name and offsets look alike."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from domain.errors import StaleTopic, Unavailable
from stream.connection import KafkaConnection
from stream.topic_admin import topic_uuids

_TIMEOUT_MS = 5_000


class TopicIdentity:
    """Asks Kafka for topics' UUIDs, in a thread of its own, so that the event loop goes on."""

    def __init__(self, connection: KafkaConnection, topics: tuple[str, ...]) -> None:
        self._connection = connection
        self._topics = topics
        self._client: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="topic-identity")

    async def uuids(self) -> dict[str, str]:
        """Return topic -> UUID, as of now; topics that do not exist are absent.

        Raises:
            Unavailable: Kafka does not answer now; asking again is safe.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask)

    async def confirm(self, known: dict[str, str]) -> None:
        """Return if every topic still is the one it was.

        Raises:
            StaleTopic: One was deleted (and perhaps created anew).
            Unavailable: Kafka does not answer now.
        """
        found = await self.uuids()
        for topic, uuid in known.items():
            if found.get(topic) == uuid:
                continue
            if topic not in found:
                found = await self.uuids()  # metadata may lag for a moment; twice absent is absent
            if found.get(topic) != uuid:
                raise StaleTopic(f"topic {topic} was {uuid} and is {found.get(topic, 'gone')}: it was deleted; start again")

    def close(self) -> None:
        """Give up the connection; no question is asked after this."""
        self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)

    def _ask(self) -> dict[str, str]:
        try:
            if self._client is None:
                self._client = KafkaAdminClient(
                    **self._connection.kafka_python(),
                    bootstrap_timeout_ms=_TIMEOUT_MS,
                    request_timeout_ms=_TIMEOUT_MS,
                    reconnect_backoff_max_ms=1_000,
                )
            return topic_uuids(self._client, self._topics)
        except (KafkaError, OSError, ValueError) as error:
            self._drop()
            raise Unavailable(f"kafka at {self._connection.bootstrap} does not answer: {error}") from error
        except Unavailable:
            self._drop()
            raise

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(KafkaError, OSError):
                client.close()
