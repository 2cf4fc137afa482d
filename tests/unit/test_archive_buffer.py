from features.archive_files import Partition
from service.archive_buffer import Buffer, Limits
from service.archive_coverage import Coverage
from tests.unit.archive_sample import HOUR_MS, START_MS, record

PARTITION = Partition("labels.v1", "0a1b2c3d", 0)
MANY = Limits(n_rows=1000, n_bytes=1 << 20)


def _pieces(buffer):
    return [(piece.first, piece.end, [r.offset for r in piece.records]) for piece in buffer.pieces]


def test_ranges_are_merged_and_holes_are_found():
    coverage = Coverage([(30, 40), (0, 10), (10, 20), (2, 5)])

    assert coverage.start == 0
    assert coverage.next_missing(0) == 20
    assert coverage.end_of_missing(20) == 30
    assert coverage.next_missing(35) == 40
    assert Coverage().next_missing(7) == 7


def test_a_buffer_begins_behind_its_files_and_not_before_the_first_of_them():
    assert Buffer(PARTITION, Coverage(), MANY).position == 0
    assert Buffer(PARTITION, Coverage([(50, 60), (60, 70)]), MANY).position == 70


def test_pieces_are_cut_where_an_hour_begins():
    buffer = Buffer(PARTITION, Coverage(), MANY)
    buffer.add([record(0), record(1), record(2, START_MS + HOUR_MS), record(3, START_MS + HOUR_MS)])

    assert _pieces(buffer) == [(0, 2, [0, 1]), (2, 4, [2, 3])]
    assert buffer.due(START_MS) == 1


def test_a_clock_that_goes_back_begins_no_earlier_hour():
    buffer = Buffer(PARTITION, Coverage(), MANY)
    buffer.add([record(0, START_MS + HOUR_MS), record(1, START_MS)])

    assert _pieces(buffer) == [(0, 2, [0, 1])]


def test_pieces_are_cut_at_the_limit_of_rows():
    buffer = Buffer(PARTITION, Coverage(), MANY._replace(n_rows=3))
    buffer.add([record(i) for i in range(4)])
    buffer.add([record(i) for i in range(4, 8)])

    assert _pieces(buffer) == [(0, 3, [0, 1, 2]), (3, 6, [3, 4, 5]), (6, 8, [6, 7])]
    assert buffer.due(START_MS) == 2


def test_a_piece_is_due_when_its_first_record_is_old_enough():
    buffer = Buffer(PARTITION, Coverage(), MANY._replace(age_ms=20_000))
    buffer.add([record(0, START_MS + 5), record(1, START_MS + 19_000)])

    assert buffer.due(START_MS + 20_004) == 0
    assert buffer.due(START_MS + 20_005) == 1


def test_a_piece_is_due_at_the_limit_of_bytes_and_when_its_hour_and_the_grace_are_over():
    small = Buffer(PARTITION, Coverage(), MANY._replace(n_bytes=10))
    small.add([record(0, value=b"x" * 10)])
    waiting = Buffer(PARTITION, Coverage(), MANY)
    waiting.add([record(0)])

    assert small.due(START_MS) == 1
    assert waiting.due(START_MS + HOUR_MS + MANY.grace_ms - 1) == 0
    assert waiting.due(START_MS + HOUR_MS + MANY.grace_ms) == 1


def test_offsets_without_records_belong_to_the_next_file():
    buffer = Buffer(PARTITION, Coverage([(0, 5)]), MANY)
    buffer.add([record(7), record(9)])

    assert _pieces(buffer) == [(5, 10, [7, 9])]


def test_a_hole_is_filled_and_reading_goes_on_behind_the_files():
    buffer = Buffer(PARTITION, Coverage([(0, 5), (8, 20)]), MANY)

    assert buffer.position == 5
    assert buffer.add([record(i) for i in range(5, 12)]) is False
    assert buffer.position == 20
    assert buffer.add([record(20)]) is True
    assert _pieces(buffer) == [(5, 8, [5, 6, 7]), (20, 21, [20])]


def test_a_hole_without_records_becomes_a_file_without_rows():
    buffer = Buffer(PARTITION, Coverage([(0, 5), (8, 20)]), MANY)
    buffer.add([record(8), record(9)])

    assert _pieces(buffer) == [(5, 8, [])]


def test_what_kafka_no_longer_has_is_lost_only_where_no_file_has_it():
    buffer = Buffer(PARTITION, Coverage([(0, 5), (8, 20)]), MANY)

    assert buffer.lose(30) == [(5, 7), (20, 29)]
    assert buffer.position == 30
    assert buffer.lose(30) == []


def test_records_since_the_last_confirmation_can_be_dropped():
    buffer = Buffer(PARTITION, Coverage(), MANY)
    buffer.add([record(0), record(1)])
    buffer.confirm()
    buffer.add([record(2), record(3, START_MS + HOUR_MS)])

    assert buffer.drop_unconfirmed() == 2
    assert _pieces(buffer) == [(0, 2, [0, 1])]
