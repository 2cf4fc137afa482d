"""Vectors come back from their Parquet file bit for bit, and a failed write leaves nothing."""

import numpy as np
import polars as pl
import pytest

from features import vector_file
from features.spec import FEATURES, N_FEATURES
from features.vector_file import SCHEMA, write_vectors
from service.gauge_file import write_gauges


@pytest.mark.parametrize("n", [0, 1, 7])
def test_vectors_come_back_bit_for_bit_over_row_groups(n, tmp_path, monkeypatch):
    monkeypatch.setattr(vector_file, "_GROUP_ROWS", 3)
    vectors = np.random.default_rng(1).integers(0, 1 << 32, (n, N_FEATURES), np.uint32).view(np.float32)
    path = tmp_path / "folder" / "features.parquet"

    write_vectors(path, pl.Series([f"t{i}" for i in range(n)], dtype=pl.String), pl.Series(range(n), dtype=pl.Int64), vectors)

    found = pl.read_parquet(path)
    assert found.schema == pl.Schema(SCHEMA)
    assert found["transaction_id"].to_list() == [f"t{i}" for i in range(n)]
    assert np.array_equal(found.select(f.name for f in FEATURES).to_numpy().view(np.uint32), vectors.view(np.uint32))
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "features.parquet"
    path.write_bytes(b"before")

    with pytest.raises(pl.exceptions.PolarsError):
        write_vectors(path, pl.Series(["a"]), pl.Series([1, 2, 3]), np.zeros((2, N_FEATURES), np.float32))

    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_gauges_are_in_the_text_format_of_prometheus(tmp_path):
    from prometheus_client.parser import text_string_to_metric_families

    path = tmp_path / "weir.prom"
    write_gauges(path, "weir_replay", {"compared": 1234567, "different": 0})

    found = {family.name: (family.type, family.samples[0].value) for family in text_string_to_metric_families(path.read_text())}
    assert found["weir_replay_compared"] == ("gauge", 1234567)
    assert found["weir_replay_different"] == ("gauge", 0)
    assert found["weir_replay_time_seconds"][1] > 1.7e9
    assert list(tmp_path.iterdir()) == [path]
