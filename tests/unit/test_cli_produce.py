import os

import pytest
from click.testing import CliRunner

from service.cli import weir
from service.line_producing import key_of
from service.producing import Beat
from service.sending import partition_of


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rate", "5", "--speedup", "2"], "one of --rate"),
        (["--rate", "5", "--full-speed"], "one of --rate"),
        (["--rate", "0"], "--rate"),
        (["--from", "yesterday"], "not a time"),
        (["--from", "2026-01-01"], "need a history"),
        (["--speedup", "60"], "need a history"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, arguments, sentence):
    file = tmp_path / "lines.jsonl"
    file.write_text("{}\n")
    found = CliRunner().invoke(weir, ["produce", str(file), *arguments])

    assert found.exit_code == 2
    assert sentence in found.output


def test_a_file_that_is_not_there_is_refused():
    assert "does not exist" in CliRunner().invoke(weir, ["produce", "nowhere.parquet"]).output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "TRANSACTION_ID"),
        (["t1"], "--fraud or --genuine"),
        (["t1", "--fraud", "--time", "soon"], "not a time"),
        (["t" * 65, "--fraud"], "64"),
        (["t1", "--fraud", "--file", os.devnull], "--file"),
    ],
)
def test_a_label_that_says_too_little_or_too_much_is_refused(arguments, sentence):
    found = CliRunner().invoke(weir, ["label", *arguments])

    assert found.exit_code == 2
    assert sentence in found.output


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"card_id": 7}', b'{"card_id": ""}', b'{"card_id": "c1"', b"[" * 5000])
def test_a_line_without_a_readable_card_has_no_key(line):
    assert key_of(line) is None


# Computed with org.apache.kafka.common.utils.Utils.murmur2 (the values of Kafka's own test).
@pytest.mark.parametrize(("key", "murmur2"), [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)])
def test_keys_go_to_the_partition_that_every_kafka_client_chooses(key, murmur2):
    assert partition_of(key, 7) == (murmur2 & 0x7FFFFFFF) % 7


def test_without_a_rate_everything_may_go_at_once():
    assert Beat(None).allow(5000) == 5000
    assert Beat(None).pause_s() == 0


def test_a_rate_never_lets_more_through_than_are_ready():
    beat = Beat(1e9)
    while beat.allow(3) == 0:
        pass

    assert beat.allow(2) == 2
