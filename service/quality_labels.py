"""All labels that came, and what they say together."""

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from monitoring.quality_facts import Verdicts

LABELS: Final = {"id": pl.UInt64(), "label_ms": pl.Int64(), "offset": pl.Int64(), "is_fraud": pl.UInt8()}


class QualityLabels:
    """The labels of one file, by hashed transaction id. Adding one again changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table = pl.read_ipc(path) if path.exists() else pl.DataFrame(schema=LABELS)

    def __len__(self) -> int:
        return len(self._table)

    def new(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return those of the rows (columns of LABELS) that are not here yet."""
        return rows.select(list(LABELS)).unique().join(self._table, on=list(LABELS), how="anti")

    def add(self, new: pl.DataFrame) -> None:
        """Add what `new` returned."""
        if not new.is_empty():
            self._write(pl.concat([self._table, new]).sort(list(LABELS)))

    def drop_before(self, label_ms: int) -> None:
        """Remove labels that became known before a moment: their transactions are older still."""
        kept = self._table.filter(pl.col("label_ms") >= label_ms)
        if kept.height < self._table.height:
            self._write(kept)

    def verdicts(self) -> Verdicts:
        """Return what is known of each transaction: its last label by (label time, offset), and since when it says so.

        A charge-back that confirms what an analyst said is no news: the delay is that of the analyst.
        """
        ids, label_ms, is_fraud = (self._table[name].to_numpy() for name in ("id", "label_ms", "is_fraud"))
        if not len(ids):
            return Verdicts(ids, is_fraud.astype(np.bool_), label_ms)
        is_other_id = ids[1:] != ids[:-1]
        begins = np.concatenate([[True], is_other_id | (is_fraud[1:] != is_fraud[:-1])])
        begin = np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))
        last = np.flatnonzero(np.append(is_other_id, True))
        return Verdicts(ids[last], is_fraud[last].astype(np.bool_), label_ms[begin[last]])

    def _write(self, table: pl.DataFrame) -> None:
        self._table = table.rechunk()
        draft = self._path.with_suffix(".draft")
        self._table.write_ipc(draft, compression="uncompressed")
        draft.replace(self._path)
