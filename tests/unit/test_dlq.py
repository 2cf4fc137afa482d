"""Dead letters: what may be done with them, whose turn it is, and what is shown."""

import base64
from functools import partial
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import errors
from domain.card_mask import mask_card_numbers
from domain.card_number import has_card_number
from domain.dead_letter_action import Action, DeadLetterAction, DeadLetterTurn
from domain.errors import ConfigError, RejectedRecord
from service.alert_text import dead_letter, dead_letter_text
from service.commands import dlq
from service.dead_letter_log import LEASE_MS, LogState, action_key, turn_key
from service.dead_letter_text import Summary, content, details, list_line, printable, row
from service.dead_letter_turn import Who
from service.dead_letter_verdict import Rules, refusal, replayed_message
from service.dead_letters import KINDS, DeadLetter, Place, Selection, letter_of, parse_place
from stream.connection import KafkaConnection
from tests.consumed import Record

CONNECTION = KafkaConnection(bootstrap="", prefix="x.")
CARD = "4111111111111111"


consumed = partial(Record, topic="x.transactions.dead.v1", offset=7, key=b"c1", value=b"{}")


def letter(**changes) -> DeadLetter:
    found = letter_of(consumed())
    return found._replace(error="InvalidRecord", reason="currency must be ISO 4217", field="currency", topic="x.transactions.v1")._replace(
        **changes
    )


def action(**changes) -> DeadLetterAction:
    values = {
        "action": "replayed", "topic": "x.transactions.dead.v1", "partition": 0, "offset": 7, "append_ms": 1_700_000_000_000, "user": "ana",
        "host": "h", "time_ms": 5, "run": "r", "reason": "why", "attempt": 2,
        "to_topic": "x.transactions.v1", "to_partition": 1, "to_offset": 9,
    }  # fmt: skip
    return DeadLetterAction(**values | changes)


def control(key: bytes, event: object | None, append_ms: int = 0) -> Record:
    return Record("x.control.v1", 0, 0, append_ms, key, None if event is None else msgspec.json.encode(event))


def turn(run: str, append_ms: int, **changes) -> Record:
    event = DeadLetterTurn(**{"run": run, "user": run, "host": "h", "process": 1, "time_ms": 0} | changes)
    return control(turn_key(run), event, append_ms)


def test_the_choices_of_the_command_are_those_of_the_code():
    rejections = [
        c.__name__ for c in vars(errors).values() if isinstance(c, type) and issubclass(c, RejectedRecord) and c is not RejectedRecord
    ]

    assert set(dlq.ERRORS) == set(rejections)
    assert tuple(KINDS) == dlq.KINDS


def test_headers_that_say_nothing_or_nonsense_leave_a_letter_readable():
    found = letter_of(consumed(headers=(("attempts", b"-3"), ("partition", b"\xff"), ("offset", b"9" * 40), ("reason", b"\xff"))))

    assert (found.error, found.attempts, found.partition, found.offset, found.reason) == ("?", 1, None, None, "\\xff")
    assert list_line(found, None)
    assert details(found, None)


@pytest.mark.parametrize("text", ["transactions:0:7", "transactions.dead.v1:0:7", "x.transactions.dead.v1:0:7"])
def test_a_place_is_named_by_topic_or_kind(text):
    assert parse_place(text, CONNECTION) == Place("x.transactions.dead.v1", 0, 7)


@pytest.mark.parametrize(
    "text", ["", "7", "0:7", "transactions:0", "transactions:0:-1", "scores.v1:0:1", "transactions:a:1", "transactions:0:1:2"]
)
def test_what_is_no_place_is_told(text):
    with pytest.raises(ConfigError, match="is not the place of a dead letter"):
        parse_place(text, CONNECTION)


def test_all_conditions_of_a_selection_must_hold():
    assert Selection().has(letter())
    assert Selection(error="InvalidRecord", field="currency", reason="iso", since_ms=0, until_ms=1_700_000_000_001, contains=b"c1").has(
        letter()
    )
    for other in (
        {"error": "x"}, {"field": "lat"}, {"reason": "no"}, {"since_ms": 1_700_000_000_001}, {"until_ms": 1_700_000_000_000},
        {"contains": b"c2"},
    ):  # fmt: skip
        assert not Selection(**other).has(letter())


def test_refusals():
    state = LogState()
    state.fold(control(action_key(action()), action()))
    handled = state.handled[letter().origin]

    assert refusal(letter(), None, Rules()) is None
    assert "already replayed to x.transactions.v1:1:9 by ana" in refusal(letter(), handled, Rules())
    assert refusal(letter(), handled, Rules(is_forced=True)) is None
    assert refusal(letter(attempts=2), None, Rules()) is None
    assert "tried 3 times" in refusal(letter(attempts=3), None, Rules())
    assert refusal(letter(attempts=3), None, Rules(max_attempts=4)) is None
    assert refusal(letter(attempts=30), None, Rules(is_forced=True)) is None
    assert "masked" in refusal(letter(error="CardNumberRejected"), None, Rules(is_forced=True))


def test_a_record_goes_back_to_its_partition_or_where_its_key_belongs():
    def partition(**changes):
        return replayed_message(letter(**changes), "x.transactions.v1", 4).partition

    assert partition(partition=3) == 3
    assert partition(partition=4) == partition(partition=None) == partition(partition=3, topic="foreign.v1")
    assert partition(partition=None, key=None) == 0


def test_the_newest_action_counts_and_only_for_the_same_letter():
    state = LogState()
    state.fold(control(action_key(action()), action()))
    state.fold(control(action_key(action(time_ms=6)), action(time_ms=6, action="discarded", to_topic=None)))

    assert state.handled[letter().origin].action == "discarded"
    assert letter(append_ms=5).origin not in state.handled
    assert action_key(action()) != action_key(action(time_ms=6))
    assert set(get_args(Action)) == {"replayed", "discarded"}


def test_events_of_others_are_passed_over_and_unreadable_own_ones_are_told():
    state = LogState()
    state.fold(control(b"model_promoted", {"event": "model_promoted"}))
    state.fold(consumed(key=None, value=b"noise"))
    with pytest.raises(ConfigError, match=r"x.control.v1:0:0 cannot be read"):
        state.fold(control(action_key(action()), {"event": "dead_letter_action_2"}))


def test_a_turn_is_kept_until_it_ends_or_its_time_is_over():
    state = LogState()
    state.fold(turn("a", 0))
    state.fold(turn("b", LEASE_MS - 1))
    assert state.holder == "a"
    state.fold(turn("a", LEASE_MS - 1))
    state.fold(turn("b", 2 * LEASE_MS - 2))
    assert state.holder == "a"
    assert set(state.turns) == {"a"}
    state.fold(turn("b", 2 * LEASE_MS))
    assert state.holder == "b"
    assert set(state.turns) == {"a", "b"}  # what a did is still in doubt
    state.fold(turn("a", 2 * LEASE_MS + 1))
    assert state.holder == "b"
    state.fold(control(turn_key("a"), None))
    state.fold(control(turn_key("b"), None))
    assert (state.holder, state.turns) == (None, {})


def test_a_run_that_is_known_to_have_died_is_taken_over_at_once():
    state = LogState()
    state.fold(turn("a", 0, sending=(("origin", "why"),)))
    state.fold(turn("b", 1, takes_over="a"))

    assert state.holder == "b"
    assert state.turns["a"].record.sending == (("origin", "why"),)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, LEASE_MS), st.booleans()), max_size=30))
def test_a_void_record_never_takes_the_turn_and_everybody_sees_the_same(steps):
    first, second, now_ms = LogState(), LogState(), 0
    for run, wait_ms, is_end in steps:
        now_ms += wait_ms
        holder, until_ms = first.holder, first.until_ms
        record = control(turn_key(run), None, now_ms) if is_end else turn(run, now_ms)
        first.fold(record)
        second.fold(record)

        if not is_end and holder not in {None, run} and now_ms < until_ms:
            assert first.holder == holder
        assert (first.holder, first.until_ms, first.turns) == (second.holder, second.until_ms, second.turns)


def test_who_acts_is_known_to_the_system():
    here = Who.here("r")

    assert here.user
    assert here.host
    assert here.process > 0


@given(
    st.text(alphabet='0123456789 -a"_ms:', max_size=60),
    st.sampled_from([CARD, "4111 1111 1111 1111", "3782-822463-10005", ""]),
    st.text(max_size=20),
)
def test_no_card_number_survives_masking(before, number, after):
    shown = mask_card_numbers(before + number + after)

    assert number == "" or number not in shown
    assert mask_card_numbers(shown) == shown


def test_times_and_short_numbers_stay():
    text = '{"event_time_ms":1767225601007,"label_time_ms": 1767225601007,"amount_minor":123456789012,"lat":52.5}'

    assert has_card_number("1767225601007")
    assert mask_card_numbers(text) == text
    assert "1767225601007" not in mask_card_numbers('{"card_id":"1767225601007"}')


def test_nothing_that_a_terminal_would_obey_is_printed():
    found = letter(key=b"\x1b[2J\n", reason="a\x07b", value=b'{"a":"\\u001b[2J\\u202e"}')
    shown = details(found, None) + list_line(found, None) + str(row(found, None))

    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert printable("good ü text") == "good ü text"


ESCAPED = "".join(f"\\u{ord(c):04x}" for c in CARD)
HIDDEN = [
    CARD.encode(), f'{{"extra":{{"pan":{CARD}}}}}'.encode(), b"\xff" + CARD.encode(), CARD.encode("utf-16-le"),
    ESCAPED.encode(), b'{"a":"' + ESCAPED.encode() + b'"}', b"\xff" + ESCAPED.encode(),
]  # fmt: skip


@pytest.mark.parametrize("value", HIDDEN)
def test_content_hides_card_numbers(value):
    shown = content(value)

    assert CARD not in shown.replace("\\x00", "")
    assert ESCAPED not in shown
    assert "1111" in shown


@pytest.mark.parametrize("value", HIDDEN)
def test_the_tail_of_dead_letters_hides_card_numbers(value):
    found = dead_letter(consumed(key=value, value=value, headers=(("reason", value),)))
    shown = base64.b64decode(found["value_base64"]) if "value_base64" in found else found["value"].encode()
    everything = str(found) + str(dead_letter_text(consumed(key=value, value=value, headers=(("reason", value),)))) + str(shown)

    assert b"1111" in shown.replace(b"\0", b"")
    assert CARD not in everything.replace("\\x00", "").replace("\0", "")
    assert ESCAPED not in everything.replace("\\\\", "\\")


def test_the_tail_of_dead_letters_leaves_other_bytes_alone():
    value, key = b'\xff{"event_time_ms":1767225601007,"a":"\\u0034"}\x80', b"\\u0034 1\0002"

    assert base64.b64decode(dead_letter(consumed(value=value))["value_base64"]) == value
    assert dead_letter(consumed(key=key))["key"].encode() == key
    assert dead_letter(consumed(headers=(("time_ms", b"1767225601007"),)))["headers"] == {"time_ms": "1767225601007"}


def test_the_tail_of_dead_letters_prints_nothing_that_a_terminal_would_obey():
    shown = str(dead_letter_text(consumed(value=b"\x1b[2J", headers=(("error", b"\x1b[2J"), ("reason", b"a\x07b")))))

    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_content_is_bounded_and_never_fails():
    assert content(None) == content(b"") == "(empty)"
    assert len(content(b"x" * 1_000_000)) < 21_000
    assert content(b"[" * 100_000)


def test_a_summary_counts_by_topic_error_field_and_state():
    summary = Summary()
    for found in (letter(), letter(append_ms=5), letter(field="lat")):
        summary.add(found, None)

    assert [(r["field"], r["letters"], r["oldest_ms"]) for r in summary.rows()] == [("currency", 2, 5), ("lat", 1, 1_700_000_000_000)]
    assert len(summary.lines()) == 3
