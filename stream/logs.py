"""Logs: one line per exception to the norm, as key-values on a terminal, as JSON elsewhere."""

import logging
import sys
from typing import Final, TextIO

import structlog

#: Libraries that tell more than an operator wants, and from which level on they are heard.
_LEVELS: Final = {
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "aiokafka": logging.WARNING,
    # Every restart of a broker is an error to these, many times a second; the watchdog and the lag tell what matters.
    "aiokafka.consumer.group_coordinator": logging.CRITICAL,
    "aiokafka.consumer.fetcher": logging.CRITICAL,
    "aiokafka.conn": logging.CRITICAL,
    "kafka": logging.CRITICAL,
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
}


def configure_logs(stream: TextIO = sys.stderr, *, level: int = logging.INFO) -> None:
    """Send weir's and the libraries' logs to `stream`; a second call replaces the first."""
    is_terminal = stream.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer()
    final = [last] if is_terminal else [structlog.processors.format_exc_info, last]
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    for name, wanted in _LEVELS.items():
        logging.getLogger(name).setLevel(wanted)
