"""The Kafka connection of a command."""

import logging
from typing import TYPE_CHECKING

import click

from domain.errors import ConfigError
from service.context import settings_of

if TYPE_CHECKING:
    from service.settings import Settings
    from stream.connection import KafkaConnection


def kafka_of(context: click.Context) -> "tuple[KafkaConnection, Settings]":
    """Return how to reach Kafka, and the settings it came from.

    Raises:
        ConfigError: No address is set and no embedded Kafka runs, or a setting is wrong.
    """
    from service.wiring import kafka_connection

    settings = settings_of(context).settings
    if not settings.kafka.bootstrap:
        raise ConfigError("no Kafka: start the embedded one with `weir up`, or set kafka.bootstrap (WEIR_KAFKA_BOOTSTRAP)")
    for name in ("aiokafka", "kafka"):  # what they cannot do reaches the user as our own errors
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return kafka_connection(settings), settings
