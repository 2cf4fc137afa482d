"""Where there is no archive, a trial is compared by what Kafka still has."""

import json
from pathlib import Path

from service.sending import partition_of
from stream.connection import KafkaConnection
from stream.records import Message
from stream.topics import LABELS, SCORES
from tests.integration.dlq_commands import send
from tests.unit.rollout_bank import GOOD_DAY, MATURITY_DAYS, TrialBank


def _sent(bank: TrialBank, connection: KafkaConnection) -> None:
    """Append what was played since the last call."""
    messages = []
    for topic in (SCORES, LABELS):
        for value in bank.played.pop(topic.name, []):
            key = str(value.get("card_id", value["transaction_id"])).encode()
            messages.append(Message(connection.topic(topic), key, json.dumps(value).encode(), partition_of(key, topic.partitions)))
    send(connection, messages)


def test_a_better_challenger_is_promoted_by_what_the_topics_hold_and_each_record_counts_once(
    connection: KafkaConnection, tmp_path: Path
) -> None:
    bank = TrialBank(tmp_path, has_archive=False)
    bank.registry.shadow(bank.challenger)
    steward = bank.steward(connection)
    bank.play(GOOD_DAY, n_days=MATURITY_DAYS + 2)
    _sent(bank, connection)
    bank.look(steward)
    first = bank.trial()
    bank.look(steward, now_ms=first.updated_ms + 60_000)
    again = bank.trial()
    bank.play(GOOD_DAY, n_days=3)
    _sent(bank, connection)
    bank.look(steward)

    assert (len(first.days), first.n_waiting) == (1, 8 * first.days[0].n_rows)
    assert again.days == first.days
    assert again.n_waiting == first.n_waiting
    assert (bank.registry.state().champion, bank.trial().outcome) == (bank.challenger, "promoted")
    assert steward.trouble == ""
