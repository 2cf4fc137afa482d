"""The bookkeeping between fetch and commit: order, limits, and offsets that only a successful commit moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.chunks import MAX_IN_FLIGHT, Flow
from stream.records import TopicPartition
from tests.consumed import Record

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


def batch(tp, first, n):
    return [Record(tp.topic, tp.partition, first + i) for i in range(n)]


def drain(flow):
    while chunk := flow.next(0.0):
        yield chunk
        flow.acknowledge(chunk)


def test_one_chunk_spans_all_partitions_of_a_topic():
    flow = Flow("t", chunk_size=10)
    flow.put({P0: batch(P0, 5, 4), P1: batch(P1, 0, 6)})
    chunk = flow.next(0.0)

    assert chunk.records == batch(P0, 5, 4) + batch(P1, 0, 6)
    assert chunk.ends == {P0: 9, P1: 6}


@given(st.dictionaries(st.sampled_from([P0, P1, TopicPartition("t", 2)]), st.integers(1, 40), min_size=1), st.integers(1, 12))
def test_every_record_is_delivered_once_in_the_order_of_its_partition_in_chunks_of_the_size(lengths, size):
    flow = Flow("t", chunk_size=size)
    drained = {tp: batch(tp, 100, n) for tp, n in lengths.items()}
    flow.put(drained)
    chunks = list(drain(flow))

    assert all(1 <= len(chunk.records) <= size for chunk in chunks)
    for tp, records in drained.items():
        assert [r for chunk in chunks for r in chunk.records if r.partition == tp.partition] == records
    assert flow.committable() == {tp: 100 + n for tp, n in lengths.items()}


def test_at_most_four_chunks_are_in_flight_also_within_one_fetch():
    flow = Flow("t", chunk_size=1)
    flow.put({P0: batch(P0, 0, 7)})
    taken = [flow.next(0.0) for _ in range(MAX_IN_FLIGHT)]

    assert flow.next(0.0) is None
    flow.acknowledge(taken[0])
    assert flow.next(0.0) is not None
    assert not flow.wants_records


def test_records_are_fetched_when_nothing_waits_and_nothing_is_in_flight():
    flow = Flow("t", chunk_size=5)
    assert flow.wants_records
    flow.put({P0: batch(P0, 0, 5)})
    assert not flow.wants_records
    chunk = flow.next(0.0)
    assert not flow.wants_records
    flow.acknowledge(chunk)
    assert flow.wants_records


def test_a_backlog_is_fetched_before_it_runs_out_until_nothing_comes():
    flow = Flow("t", chunk_size=5)
    flow.put({P0: batch(P0, 0, 100)})
    taken = []
    while not flow.wants_records:
        taken.append(flow.next(0.0))
        flow.acknowledge(taken[-1])
    assert len(taken) == 20 - MAX_IN_FLIGHT
    assert not flow.is_idle
    flow.put({P0: batch(P0, 100, 30)})
    assert flow.wants_records is False
    offsets = [record.offset for chunk in [*taken, *drain(flow)] for record in chunk.records]
    assert offsets == list(range(130))


@pytest.mark.parametrize("ends", ["caught_up", "void"])
def test_a_backlog_ends_when_a_fetch_finds_nothing_or_all_comes_again(ends):
    flow = Flow("t", chunk_size=5)
    flow.put({P0: batch(P0, 0, 50)})
    getattr(flow, ends)()
    while chunk := flow.next(0.0):
        assert not flow.wants_records
        flow.acknowledge(chunk)
    assert flow.wants_records


def test_a_chunk_is_new_until_its_processing_begins():
    flow = Flow("t", chunk_size=5)
    assert not flow.has_new
    flow.put({P0: batch(P0, 0, 10)})
    assert flow.has_new
    first, second = flow.next(0.0), flow.next(0.0)
    first.is_taken = True
    assert flow.has_new
    second.is_taken = True
    assert not flow.has_new


def test_an_offset_waits_for_the_chunks_before_it():
    flow = Flow("t", chunk_size=1)
    flow.put({P0: batch(P0, 0, 2)})
    first, second = flow.next(0.0), flow.next(0.0)

    flow.acknowledge(second)
    assert flow.committable() == {}
    flow.acknowledge(first)
    assert flow.committable() == {P0: 2}


def test_a_refused_commit_forgets_nothing_and_a_successful_one_is_not_repeated():
    flow = Flow("t", chunk_size=1)
    flow.put({P0: batch(P0, 0, 3)})
    for _ in range(2):
        flow.acknowledge(flow.next(0.0))

    assert flow.committable() == flow.committable() == {P0: 2}
    flow.acknowledge(flow.next(0.0))
    flow.committed({P0: 2})
    assert flow.committable() == {P0: 3}
    flow.committed({P0: 3})
    assert flow.committable() == {}
    assert flow.n_uncommitted == 0


def test_after_a_seek_an_acknowledgement_of_an_old_chunk_moves_nothing():
    flow = Flow("t", chunk_size=2)
    flow.put({P0: batch(P0, 10, 4)})
    old = flow.next(0.0)
    flow.void()
    flow.put({P0: batch(P0, 0, 2)})
    new = flow.next(0.0)
    flow.acknowledge(old)

    assert old.is_void
    assert not new.is_void
    assert flow.committable() == {}
    assert flow.n_in_flight == 1


def test_offsets_that_go_back_without_a_seek_are_noticed():
    flow = Flow("t", chunk_size=10)
    flow.put({P0: batch(P0, 100, 5)})

    assert not flow.goes_back({P0: batch(P0, 105, 1), P1: batch(P1, 0, 1)})
    assert flow.goes_back({P0: batch(P0, 0, 1)})
    flow.void()
    assert not flow.goes_back({P0: batch(P0, 0, 1)})


def test_the_oldest_chunk_is_the_first_delivered_and_not_acknowledged():
    flow = Flow("t", chunk_size=1)
    flow.put({P0: batch(P0, 0, 2)})
    first, second = flow.next(5.0), flow.next(7.0)

    assert flow.oldest_s == 5.0
    flow.acknowledge(first)
    assert flow.oldest_s == 7.0
    flow.acknowledge(second)
    assert flow.oldest_s is None


def test_a_chunk_that_is_tried_while_the_other_side_is_away_is_not_stuck_nor_are_those_behind_it():
    flow = Flow("t", chunk_size=1)
    flow.put({P0: batch(P0, 0, 3)})
    first, second = flow.next(5.0), flow.next(6.0)

    assert flow.stuck_since_s == 5.0
    first.refused_s = 65.0
    assert (flow.oldest_s, flow.stuck_since_s) == (5.0, 65.0)
    flow.acknowledge(first)
    assert (flow.oldest_s, flow.stuck_since_s) == (6.0, 65.0)
    flow.acknowledge(second)
    flow.next(70.0)
    assert flow.stuck_since_s == 70.0
    flow.void()
    assert flow.stuck_since_s is None
