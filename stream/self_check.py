"""The private names of Faust and aiokafka that the transport overrides or reads: they must be as they were when it was written.

Both libraries are pinned exactly; this check speaks up when somebody moves a pin, instead of a worker that loses records.
"""

import inspect
from importlib import import_module
from importlib.metadata import version
from typing import Final

from domain.errors import ConfigError

#: `module:Class.method` -> its parameters.
SIGNATURES: Final = {
    "faust.app.base:App._new_transport": ("self",),
    "faust.app.base:App._new_producer_transport": ("self",),
    "faust.transport.consumer:Consumer._drain_messages": ("self", "fetcher"),
    "faust.transport.consumer:Consumer._commit_tps": ("self", "tps", "start_new_transaction"),
    "faust.transport.consumer:Consumer._get_active_partitions": ("self",),
    "faust.transport.consumer:Consumer.perform_seek": ("self",),
    "faust.transport.consumer:Consumer.wait_empty": ("self",),
    "faust.transport.consumer:Consumer.on_partitions_revoked": ("self", "revoked"),
    "faust.transport.consumer:Consumer.on_partitions_assigned": ("self", "assigned", "generation_id"),
    "faust.transport.consumer:Consumer.commit_and_end_transactions": ("self",),
    "faust.transport.consumer:Fetcher._fetcher": ("self",),
    "faust.transport.drivers.aiokafka:Consumer._new_consumer_thread": ("self",),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer": ("self", "transport"),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._ensure_consumer": ("self",),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.commit": ("self", "offsets"),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._commit": ("self", "offsets"),
    "faust.transport.drivers.aiokafka:Producer._new_producer": ("self", "transactional_id"),
    "faust.transport.drivers.aiokafka:Producer._ensure_producer": ("self",),
    "faust.tables.recovery:Recovery._wait": ("self", "coro", "timeout"),
    "faust.tables.recovery:Recovery._resume_streams": ("self", "generation_id"),
    "mode.threads:QueueServiceThread.call_thread": ("self", "fun", "args", "kwargs"),
    "aiokafka.consumer.group_coordinator:GroupCoordinator.fetch_committed_offsets": ("self", "partitions"),
    "aiokafka.consumer.group_coordinator:GroupCoordinator.check_errors": ("self",),
    "aiokafka.producer.message_accumulator:BatchBuilder.append": ("self", "timestamp", "key", "value", "headers"),
}
#: `module:Class` -> attributes that its methods must still set.
ATTRIBUTES: Final = {
    "aiokafka.consumer.group_coordinator:GroupCoordinator": ("_pending_exception", "_coordination_task"),
    "aiokafka.consumer.consumer:AIOKafkaConsumer": ("_coordinator",),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread": ("_consumer",),
    "faust.transport.consumer:ThreadDelegateConsumer": ("_thread",),
    "faust.tables.recovery:Recovery": ("signal_recovery_start",),
}


def check_private_names() -> None:
    """Return if every private name is as expected.

    Raises:
        ConfigError: One is not; the message names it, and the versions installed.
    """
    wrong = [name for name, expected in SIGNATURES.items() if _parameters(name) != expected]
    wrong += [f"{name}.{found}" for name, wanted in ATTRIBUTES.items() for found in wanted if not _mentions(name, found)]
    if wrong:
        raise ConfigError(
            f"faust-streaming {version('faust-streaming')} and aiokafka {version('aiokafka')} are not the versions this transport was "
            f"written for ({', '.join(wrong)} changed): install the locked versions"
        )


def _parameters(name: str) -> tuple[str, ...] | None:
    module, _, path = name.partition(":")
    found: object = import_module(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    found = getattr(found, "fun", found)  # mode wraps the methods that it runs as tasks
    return tuple(inspect.signature(found).parameters) if callable(found) else None


def _mentions(name: str, attribute: str) -> bool:
    module, _, path = name.partition(":")
    found = getattr(import_module(module), path, None)
    return inspect.isclass(found) and f"{attribute}" in inspect.getsource(found)
