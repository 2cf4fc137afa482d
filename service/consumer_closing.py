"""Disconnect consumers of aiokafka, also from a broker that is gone."""

import asyncio
from typing import Any


async def close_consumer(consumer: Any) -> None:
    """Stop a consumer and close its connections; does not fail because its broker is gone.

    Stopping cancels the fetches under way and lets their cancellation out, before the connections are closed; a consumer
    does not stop twice.

    Raises:
        CancelledError: The task that waits here is cancelled itself.
    """
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    finally:
        await consumer._client.close()  # noqa: SLF001 - left open where `stop` did not come to its end; closing again does nothing
