"""Nothing is lost, nothing counts twice, and an answer given again is the same, whatever dies in between."""

import signal

import numpy as np
import polars as pl
import redis

from features import layout as at
from features.codec import checkpoint_words, decode
from features.currency import Rates
from features.kernel import apply
from features.keys import Keys
from features.spec import ENTITY_LETTERS, FeatureSettings, fingerprint
from service.audit import is_same_answer
from stream.topic_admin import create
from tests.e2e.installation import Installation, until

ENTITY_COLUMNS = ("card_id", "merchant_id", "device_id", "ip")


def assert_answers(answers, wanted: set[str]) -> None:
    """All wanted are answered, nothing else, and repeated answers are the same; few had to be computed approximately."""
    assert set(answers) == wanted
    different = [a for a in answers.values() if not all(is_same_answer(a[0], b) for b in a[1:])]
    assert different == []
    approximate = [a for a in answers.values() if any("replay_approx" in score.flags for score in a)]
    repeated = [a for a in answers.values() if len(a) > 1]
    assert len(approximate) <= max(1, len(wanted) // 20), (len(approximate), len(repeated))


def assert_counted_once(installation: Installation, streamed: pl.DataFrame) -> None:
    """Every entity's state in Redis has folded each of its transactions exactly once."""
    client = redis.Redis.from_url(installation.settings.redis.url)
    keys = Keys(installation.settings.redis.prefix, fingerprint(FeatureSettings()))
    for kind, column in enumerate(ENTITY_COLUMNS):
        counts = streamed[column].drop_nulls().value_counts()
        for entity_id, expected in counts.iter_rows():
            assert folded_records(client.get(keys.state(kind, entity_id)), kind) == expected, (ENTITY_LETTERS[kind], entity_id)
    client.close()


def folded_records(blob: bytes, kind: int) -> int:
    words = np.frombuffer(blob, np.int64)
    ints, floats = np.zeros(at.N_INTS, np.int64), np.zeros(at.N_FLOATS)
    decode(words, words.view(np.float64), 0, len(words), kind, ints, floats)
    for i in range(checkpoint_words(words, 0, len(words)), len(words), at.RECORD_WORDS):
        apply(ints, floats, kind, Rates("EUR").major, words[i : i + at.RECORD_WORDS])
    return int(ints[at.N_RECORDS])


def test_workers_killed_in_mid_stream_lose_nothing_and_count_nothing_twice(installation, trained):
    streamed = trained.history[:6_000]
    wanted = set(streamed["transaction_id"].to_list())
    worker = installation.start_worker()
    for part in range(3):
        before = installation.n_records("scores.v1")
        installation.send_history(streamed, 2_000 * part, 2_000 * (part + 1))
        until(lambda before=before: installation.n_records("scores.v1") > before + 200, "no answers: " + installation.logs())
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker = installation.start_worker()

    assert_answers(installation.until_answered(wanted), wanted)
    assert installation.stop(worker) == 0
    assert_counted_once(installation, streamed)


def test_a_killed_broker_that_comes_back_loses_nothing(installation, trained, broker):
    streamed = trained.history[:3_000]
    wanted = set(streamed["transaction_id"].to_list())
    worker = installation.start_worker()
    installation.send_history(streamed, 0, 2_000)
    until(lambda: installation.n_records("scores.v1") > 100, "no answers: " + installation.logs())
    broker.kill()
    broker.start()
    if worker.poll() is not None:  # it may end rather than wait; then it is started again
        worker = installation.start_worker()
    installation.send_history(streamed, 2_000, 3_000)

    until(lambda: worker.poll() is not None or wanted <= installation.answers().keys(), "not answered: " + installation.logs())
    if worker.poll() is not None:
        installation.start_worker()
    assert_answers(installation.until_answered(wanted), wanted)
    assert_counted_once(installation, streamed)


def test_a_third_worker_that_joins_and_one_that_leaves_change_no_answer(installation, trained):
    streamed = trained.history[:5_000]
    wanted = set(streamed["transaction_id"].to_list())
    first, _ = installation.start_worker(), installation.start_worker()
    installation.send_history(streamed, 0, 2_500)
    third = installation.start_worker()
    installation.send_history(streamed, 2_500, 4_000)
    assert installation.stop(first) == 0
    installation.send_history(streamed, 4_000, 5_000)

    assert_answers(installation.until_answered(wanted), wanted)
    assert third.poll() is None
    assert_counted_once(installation, streamed)


def test_a_refused_commit_is_made_good(installation, trained):
    streamed = trained.history[:1_500]
    wanted = set(streamed["transaction_id"].to_list())
    worker = installation.start_worker()
    installation.send_history(streamed, 0, 1_000)
    until(lambda: installation.n_records("scores.v1") > 100, "no answers: " + installation.logs())
    installation.forget_members()
    installation.send_history(streamed, 1_000, 1_500)
    until(lambda: worker.poll() is not None or installation.committed("transactions.v1") == 1_500, "not committed: " + installation.logs())
    if worker.poll() is not None:
        installation.start_worker()
        until(lambda: installation.committed("transactions.v1") == 1_500, "not committed: " + installation.logs())

    assert_answers(installation.until_answered(wanted), wanted)
    assert_counted_once(installation, streamed)


def test_a_topic_deleted_and_created_anew_is_processed_from_its_beginning(installation, trained):
    from kafka.admin import KafkaAdminClient

    old, new = trained.history[:400], trained.history[400:1_000]
    worker = installation.start_worker()
    installation.send_history(old, 0, len(old))
    until(lambda: installation.committed("transactions.v1") == len(old), "not committed: " + installation.logs())
    admin = KafkaAdminClient(bootstrap_servers=installation.bootstrap)
    admin.delete_topics([installation.topic("transactions.v1")])
    until(lambda: installation.topic("transactions.v1") not in admin.list_topics(), "the topic is still there")
    admin.close()
    create(installation.connection)
    installation.send_history(new, 0, len(new))
    until(lambda: worker.poll() is not None, "the worker did not notice: " + installation.logs())
    assert worker.returncode == 75
    installation.start_worker()

    wanted = set(old["transaction_id"].to_list()) | set(new["transaction_id"].to_list())
    assert_answers(installation.until_answered(wanted), wanted)
    assert_counted_once(installation, trained.history[:1_000])
