"""An archived history and the stream after it hold every record once."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.archive_cut import cut_at, has_places

PARTITIONS = [("tx", 0), ("tx", 1), ("labels", 0)]


def archived(n: int, n_labels: int, seed: int) -> pl.DataFrame:
    r = np.random.default_rng(seed)
    partition = r.integers(0, 2, n)
    offset = np.where(partition == 0, np.cumsum(partition == 0), np.cumsum(partition == 1)) - 1
    label_of = {int(row): place for place, row in enumerate(r.permutation(n)[:n_labels])}
    labels = [label_of.get(row) for row in range(n)]
    uuid = np.where(r.random(n) < 0.2, "gone", "tx")
    return pl.DataFrame(
        {
            "transaction_id": [f"t{i}" for i in range(n)],
            "is_fraud": [None if place is None else True for place in labels],
            "label_time_ms": [None if place is None else 1_000 + place for place in labels],
            "topic_uuid": uuid,
            "partition": partition.astype(np.int32),
            "offset": offset,
            "label_topic_uuid": [None if place is None else "labels" for place in labels],
            "label_partition": pl.Series([None if place is None else 0 for place in labels], dtype=pl.Int32),
            "label_offset": pl.Series(labels, dtype=pl.Int64),
        },
        schema_overrides={"is_fraud": pl.Boolean, "label_time_ms": pl.Int64, "label_topic_uuid": pl.String},
    )


@given(n=st.integers(0, 40), seed=st.integers(0, 1000), committed=st.tuples(*[st.integers(0, 30)] * 3), share=st.floats(0, 1))
def test_what_is_folded_and_what_comes_are_every_record_once(n, seed, committed, share):
    history = archived(n, int(share * n), seed)

    cut = cut_at(history, dict(zip(PARTITIONS, committed, strict=True)))

    folded = set(cut.history["transaction_id"].to_list())
    told = set(cut.history.filter(pl.col("is_fraud"))["transaction_id"].to_list())
    for row in history.iter_rows(named=True):
        comes = row["topic_uuid"] == "tx" and row["offset"] >= cut.next_offsets["tx", row["partition"]]
        assert (row["transaction_id"] in folded) != comes
        if row["is_fraud"] and not comes:
            assert (row["transaction_id"] in told) != (row["label_offset"] >= cut.next_offsets["labels", 0])
    assert all(cut.next_offsets[partition] <= offset for partition, offset in zip(PARTITIONS, committed, strict=True))
    assert cut.history.columns == history.columns


def test_a_history_without_places_has_none():
    assert has_places(archived(1, 0, 0))
    assert not has_places(archived(1, 0, 0).drop("label_offset"))
