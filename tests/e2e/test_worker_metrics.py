"""A worker shows figures about itself that are true."""

import redis

from features.keys import Keys
from features.layout import CARD
from features.spec import fingerprint
from tests.e2e.installation import until


def test_a_worker_shows_its_journal_its_states_and_a_redis_that_was_emptied(installation, trained):
    streamed = trained.history[:800]
    worker = installation.start_worker()
    installation.send_history(streamed, 0, 600)
    installation.send_history(streamed, 599, 600)  # a producer's duplicate
    until(lambda: installation.committed("transactions.v1") == 601, "not committed: " + installation.logs())
    client = redis.Redis.from_url(installation.settings.redis.url)
    spec = fingerprint(installation.settings.features.definition())
    client.set(Keys(installation.settings.redis.prefix, spec).state(CARD, streamed["card_id"][700]), b"no state")
    installation.send_history(streamed, 600, 800)
    until(lambda: installation.committed("transactions.v1") == 801, "not committed: " + installation.logs())

    shown = installation.metrics(worker)
    assert shown["weir_transactions_total"] == 801
    assert shown['weir_flags_total{flag="duplicate"}'] == 1
    assert 0 < shown["weir_journal_slots_written_total"] <= 801
    assert 0 <= shown["weir_journal_fullness"] < 1
    assert shown["weir_states_set_aside_total"] == 1
    still = ["journal_conflicts_total", "journal_forced_commits_total", "journal_broken_slots_total", "outage", "outages_total"]
    still += ["outage_seconds_total", "states_lost_records_total", "markers_missing", "redis_emptied"]
    assert {name: shown[f"weir_{name}"] for name in still} == dict.fromkeys(still, 0)

    assert installation.stop(worker) == 0
    client.delete(*client.scan_iter(f"{installation.settings.redis.prefix}*"))
    client.close()
    worker = installation.start_worker(wait=False)
    until(lambda: installation.metrics(worker).get("weir_redis_emptied") == 1, "not told: " + installation.logs())
    assert installation.metrics(worker)["weir_markers_missing"] > 0
