"""What may be done with a dead letter: pure decisions."""

from typing import Final, NamedTuple

from domain.errors import CardNumberRejected
from service.dead_letter_log import Handled
from service.dead_letters import KINDS, DeadLetter
from service.sending import partition_of
from stream.connection import KafkaConnection
from stream.dead_letter import replay_headers
from stream.records import Message
from stream.topics import DEAD_LETTERS

DEFAULT_MAX_ATTEMPTS: Final = 3
_MASKED: Final = CardNumberRejected.__name__


class Rules(NamedTuple):
    """What a replay may do."""

    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    """A record that has been tried so often is not sent again."""
    is_forced: bool = False
    """True: send it all the same, and also what is handled already."""


class Step(NamedTuple):
    """One dead letter and what becomes of it."""

    letter: DeadLetter
    refusal: str | None
    """Why nothing is done; None: it is."""
    message: Message | None = None
    """What is sent, if anything is."""
    offset: int | None = None
    """Where it came to lie, once it is sent."""


def refusal(letter: DeadLetter, handled: Handled | None, rules: Rules) -> str | None:
    """Return why `letter` is not replayed, one clause; None if it is."""
    if letter.error == _MASKED:
        return "its card number was masked, so the original bytes are gone; have it sent again with a token"
    if rules.is_forced:
        return None
    if handled is not None:
        return f"already {handled}; --force sends it again"
    if letter.attempts >= rules.max_attempts:
        return f"tried {letter.attempts} times already (--max-attempts {rules.max_attempts}); --force sends it again"
    return None


def home(letter: DeadLetter, connection: KafkaConnection) -> str:
    """Return the full name of the topic that the record of `letter` belongs to."""
    name = next(kind for kind, topic in KINDS.items() if connection.topic(topic) == letter.place.topic)
    return connection.topic(next(source for source, dead in DEAD_LETTERS.items() if dead is KINDS[name]))


def replayed_message(letter: DeadLetter, topic: str, n_partitions: int) -> Message:
    """Return what is sent: the original bytes and key, to the original partition.

    A partition that is not known, or is gone, is chosen by the hash of the key, as Kafka's own clients do.
    """
    partition = letter.partition if letter.topic == topic else None
    if partition is None or partition >= n_partitions:
        partition = 0 if letter.key is None else partition_of(letter.key, n_partitions)
    return Message(topic, letter.key, letter.value, partition, replay_headers(letter.origin, letter.attempts))
