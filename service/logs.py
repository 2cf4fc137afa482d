"""Logging of the long-running commands: one line per exception to the norm, JSON unless a person looks on.

Events are `snake_case` facts with key-values. Nothing secret is printed: values under telling keys become `***`,
passwords inside addresses too, and card numbers are masked wherever they stand.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from domain.card_number import is_card_number
from service.settings import without_password

_SECRET_KEY: Final = re.compile(r"password|secret|signing_key|token|card_number|^card_id$|^value$", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"\w+://[^\s/@]*@[^\s]*")
_DIGITS: Final = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")

#: Libraries that tell more than an operator wants, and from which level on they are heard.
_LEVELS: Final = {
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "aiokafka": logging.CRITICAL,
    # Every restart of a broker is an error to these, many times a second; the watchdog and the lag tell what matters.
    "aiokafka.consumer.group_coordinator": logging.CRITICAL,
    "aiokafka.consumer.fetcher": logging.CRITICAL,
    "aiokafka.conn": logging.CRITICAL,
    "kafka": logging.CRITICAL,
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
    "numba": logging.WARNING,
    "uvicorn": logging.WARNING,
    "httpx": logging.WARNING,
}


def configure(stream: TextIO = sys.stderr, *, level: int = logging.INFO) -> None:
    """Set up structlog and the standard library's logging (Kafka clients, Faust) to write to `stream`.

    On a terminal lines are for people, elsewhere each line is one JSON object.
    """
    for_people = stream.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        *([] if for_people else [structlog.processors.format_exc_info]),
        redact,
    ]
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name, wanted in _LEVELS.items():
        logging.getLogger(name).setLevel(wanted)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return `event` without secrets; a processor of structlog.

    >>> redact(None, "info", {"event": "connected", "sasl_password": "p", "url": "redis://:p@h:1"})
    {'event': 'connected', 'sasl_password': '***', 'url': 'redis://:***@h:1'}
    """
    for key, value in event.items():
        if not key.startswith("_") and value is not None and _SECRET_KEY.search(key):
            event[key] = "***"
        elif isinstance(value, str):
            event[key] = redacted(value)
    return event


def redacted(text: str) -> str:
    """Return `text` with passwords in addresses and card numbers masked.

    >>> redacted("paid with 4111 1111 1111 1111 at redis://u:p@h/0")
    'paid with a card number (not shown) at redis://u:***@h/0'
    """
    text = _ADDRESS.sub(lambda found: without_password(found[0]), text)
    return _DIGITS.sub(lambda found: "a card number (not shown)" if is_card_number(found[0]) else found[0], text)
