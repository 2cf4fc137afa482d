"""What a slot of the answer journal holds and which one is next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.journal_slot import HEAD_BYTES, Head, decode_head, decode_slot, encode_slot
from stream.journal_ring import Ring, Share, Start, read_groups

SOURCE = 300
texts = st.binary(max_size=40)
answers = st.lists(st.tuples(st.integers(0, 1 << 48), texts, texts), min_size=1, max_size=20, unique_by=lambda each: each[0])


def slot(sequence: int, first: int, n: int = 3, *, source: int = SOURCE, text: bytes = b"") -> bytes:
    offsets = list(range(first, first + n))
    return encode_slot(sequence, source, offsets, [text or b"s%d" % o for o in offsets], [b""] * n)


def ring(*contents: bytes, offset: int = 0) -> Ring:
    return Ring(Start(SOURCE, offset), [content[:HEAD_BYTES] for content in contents])


@given(answers, st.integers(0, 1 << 60), st.integers(0, 1 << 15))
def test_decoding_gives_back_what_was_encoded(rows, sequence, source):
    offsets, scores, alerts = (list(column) for column in zip(*sorted(rows), strict=True))
    content = encode_slot(sequence, source, offsets, scores, alerts)
    decoded = decode_slot(content)

    assert decoded is not None
    assert (decoded.offsets, decoded.scores, decoded.alerts) == (offsets, scores, alerts)
    assert decoded.head == decode_head(content[:HEAD_BYTES])
    assert decoded.head[:5] == (sequence, source, offsets[0], offsets[-1], len(offsets))


@given(answers, st.data())
def test_mutated_bytes_are_refused_and_never_crash(rows, data):
    offsets, scores, alerts = (list(column) for column in zip(*sorted(rows), strict=True))
    content = encode_slot(7, SOURCE, offsets, scores, alerts)
    place = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.integers(1, 255))
    mutated = content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    decoded = decode_slot(mutated)

    assert decoded is None or (1 <= place < 4 and decoded == decode_slot(content))
    assert decode_slot(cut) is None
    assert decode_slot(content + b"more") is None


@given(st.binary(max_size=200), st.integers(0, 1 << 20), st.integers(-5, 1 << 31))
def test_any_bytes_behind_a_sound_head_never_crash(body, n_answers, first):
    from features import journal_slot as s

    rest = s._REST.pack(1, SOURCE, first, first, n_answers, len(body), s.crc32(body))
    decode_slot(s._BEFORE.pack(1, s.crc32(rest)) + rest + body)


def test_a_slot_of_another_version_is_refused():
    assert decode_head(b"\x02" + slot(0, 0)[1:]) is None


def test_the_next_slot_follows_the_newest_also_that_of_an_older_topic():
    assert ring(b"", b"").next_sequence == 0
    assert ring(slot(4, 0), slot(5, 3, source=9), b"", slot(3, 0)).next_sequence == 6


def test_a_slot_must_wait_until_its_last_offset_is_committed():
    full = ring(slot(0, 10), slot(1, 13))
    assert full.must_wait(16)
    full.commit(12)
    assert full.must_wait(16)
    full.commit(13)
    assert not full.must_wait(16)


def test_a_slot_of_an_older_topic_is_free():
    assert not ring(slot(0, 10, source=9), slot(1, 13)).must_wait(16)


def test_nobody_waits_for_offsets_that_come_later():
    assert not ring(slot(0, 10), slot(1, 13)).must_wait(5)


def test_of_an_offset_recorded_twice_the_first_is_found():
    contents = [slot(1, 3, text=b"later"), slot(0, 2, text=b"first")]
    found = ring(*contents)
    found.fill([decoded for content in contents if (decoded := decode_slot(content))], None)

    assert {offset: answer[0] for offset, answer in found.answers.items()} == {2: b"first", 3: b"first", 4: b"first", 5: b"later"}


def test_what_this_process_recorded_comes_first_and_is_saved_again():
    before = ring(b"", b"")
    before.remember(Share([4, 5, 6], [b"a", b"b", b"c"], [b"", b"x", b""]))
    after = ring(slot(0, 6), b"", offset=5)
    after.fill([decode_slot(slot(0, 6))], before)

    assert after.answers == {5: (b"b", b"x"), 6: (b"c", b""), 7: (b"s7", b""), 8: (b"s8", b"")}
    assert after.unrecorded(Share([5, 6, 9], [b"b", b"c", b"d"], [b"x", b"", b""])) == ([5, 9], [b"b", b"d"], [b"x", b""])


def test_committed_answers_leave_the_memory():
    here = ring(b"")
    here.remember(Share([1, 2, 3], [b"a", b"b", b"c"], [b""] * 3))
    here.commit(3)
    assert list(here.answers) == [3]
    here.commit(2)
    assert here.committed == 3


@pytest.mark.parametrize(("size", "n_groups"), [(10, 1), (300_000, 2)])
def test_large_journals_are_read_in_parts(size, n_groups):
    rings = {p: ring(slot(0, 0, 1, text=bytes(size)), slot(1, 1, 1, text=bytes(size)), b"") for p in (0, 5)}
    groups = list(read_groups(rings))

    assert len(groups) == n_groups
    assert [each for group in groups for each in group] == [(0, 0), (0, 1), (5, 0), (5, 1)]


def test_a_head_names_its_content():
    assert slot(1, 5)[:HEAD_BYTES] != slot(1, 5, text=b"x")[:HEAD_BYTES]
    assert isinstance(decode_head(slot(1, 5)), Head)
