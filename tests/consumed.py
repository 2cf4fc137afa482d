"""A consumed record, as plain as tests need it."""

from typing import NamedTuple


class Record(NamedTuple):
    """What aiokafka hands over, without what weir does not read."""

    topic: str = "t"
    partition: int = 0
    offset: int = 0
    timestamp: int = 1_700_000_000_000
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple = ()
