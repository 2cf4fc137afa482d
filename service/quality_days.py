"""The scored days on disk: one file of answers, one of amounts and one of facts for each UTC day of event time."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.archive_schema import Schema
from monitoring.quality_facts import DAY_MS, Amounts, Answers, DayFacts, Verdicts, facts_of
from monitoring.quality_matured import Threshold
from service.quality_amounts import WANTED

ANSWERS: Final[Schema] = {
    "id": pl.UInt64(), "event_ms": pl.Int64(), "probability": pl.Float64(), "is_alert": pl.UInt8(), "control_pi": pl.Float64(),
    "is_restated": pl.UInt8(), "append_ms": pl.Int64(), "source_partition": pl.Int32(), "source_offset": pl.Int64(),
}  # fmt: skip
AMOUNTS: Final[Schema] = {"id": pl.UInt64(), "amount_minor": pl.Int64()}
_SCHEMAS: Final = {"answers": ANSWERS, "amounts": AMOUNTS}


class QualityDays:
    """The days of a folder. Adding rows again changes nothing: of each transaction one answer is kept.

    A restated answer replaces a degraded one, else the first by append time counts. In memory are the facts only; the ids, in
    which every label is looked up, are mapped.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._ids: dict[int, NDArray[np.uint64]] = {}
        self._facts: dict[int, DayFacts] = {}
        self._above: dict[int, tuple[float, int]] = {}
        for path in folder.glob("*.facts"):
            self._read_facts(path)

    def add_answers(self, rows: pl.DataFrame) -> None:
        """Add rows with the columns of ANSWERS; the days that changed lose their facts."""
        order = [pl.col("id"), pl.col("is_restated"), pl.col("append_ms")]
        self._add("answers", rows, order, descending=[False, True, False])

    def add_amounts(self, rows: pl.DataFrame) -> None:
        """Add rows with the columns of AMOUNTS and `event_ms`; the days that changed lose their facts."""
        self._add("amounts", rows, [pl.col("id")], descending=[False])

    def days_with(self, ids: NDArray[np.uint64]) -> Iterator[int]:
        """Yield the days that hold an answer to one of these hashed transaction ids."""
        for day_ms in self.days():
            if day_ms not in self._ids:
                self._ids[day_ms] = np.load(self._path(day_ms, "ids"), mmap_mode="r")
            known = self._ids[day_ms]
            place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            if (known[place] == ids).any():
                yield day_ms

    def days(self) -> list[int]:
        """Return the days that have answers, ascending."""
        return sorted({int(path.name.split(".")[0]) * DAY_MS for path in self._folder.glob("*.answers")})

    def unpriced(self, day_ms: int, verdicts: Verdicts) -> pl.DataFrame:
        """Return the frauds of a day whose amount was not looked up yet, with the columns of `quality_amounts.WANTED`."""
        table = self._table(day_ms, "answers")
        frauds = pl.DataFrame({"id": verdicts.ids[verdicts.is_fraud]})
        return table.join(frauds, on="id", how="semi").join(self._table(day_ms, "amounts"), on="id", how="anti").select(list(WANTED))

    def count(self, day_ms: int, verdicts: Verdicts) -> None:
        """Make the facts of a day anew."""
        table = self._table(day_ms, "answers")
        ids, event_ms, p, is_alert, control_pi = (table[name].to_numpy() for name in list(ANSWERS)[:5])
        amounts = self._table(day_ms, "amounts")
        facts = facts_of(
            day_ms,
            Answers(ids, event_ms, p, is_alert.astype(np.bool_), control_pi),
            Amounts(*(amounts[name].to_numpy() for name in AMOUNTS)),
            verdicts,
        )
        self._facts[day_ms] = facts
        self._write(day_ms, "facts", facts.encode())

    def facts(self) -> dict[int, DayFacts]:
        """Return the facts of each day, as last counted."""
        return self._facts

    def forget(self, day_ms: int) -> None:
        """Drop the facts of a day before something of it changes, so that a crash in between cannot leave them out of date."""
        self._path(day_ms, "facts").unlink(missing_ok=True)
        self._facts.pop(day_ms, None)
        self._above.pop(day_ms, None)

    def uncounted(self) -> list[int]:
        """Return the days whose facts are to be made, ascending."""
        return [day_ms for day_ms in self.days() if day_ms not in self._facts]

    def above(self, threshold: float) -> Threshold:
        """Return how many probabilities of each day are at or above a threshold; days are looked at once for the same one."""
        for day_ms in self._facts:
            if self._above.get(day_ms, (None, 0))[0] != threshold:
                n = int((self._table(day_ms, "answers")["probability"] >= threshold).sum())
                self._above[day_ms] = (threshold, n)
        return Threshold(threshold, {day_ms: n for day_ms, (_, n) in self._above.items()})

    def drop_before(self, day_ms: int) -> None:
        """Remove the days before one."""
        for path in self._folder.iterdir():
            if int(path.name.split(".")[0]) * DAY_MS < day_ms:
                path.unlink(missing_ok=True)
        self._ids = {day: ids for day, ids in self._ids.items() if day >= day_ms}
        self._facts = {day: facts for day, facts in self._facts.items() if day >= day_ms}
        self._above = {day: found for day, found in self._above.items() if day >= day_ms}

    def _add(self, kind: str, rows: pl.DataFrame, order: list[pl.Expr], *, descending: list[bool]) -> None:
        for (day,), part in rows.group_by(pl.col("event_ms") // DAY_MS):
            assert isinstance(day, int)
            day_ms = day * DAY_MS
            old = self._table(day_ms, kind)
            both = pl.concat([old, part.select(list(_SCHEMAS[kind]))])
            kept = both.sort(order, descending=descending, maintain_order=True).unique("id", keep="first", maintain_order=True)
            if kept.height == old.height and kept.equals(old):
                continue
            self.forget(day_ms)
            if kind == "answers":  # the ids first: one too many looks a label up in vain, one too few would lose it
                self._ids.pop(day_ms, None)
                np.save(ids := BytesIO(), kept["id"].to_numpy())
                self._write(day_ms, "ids", ids.getvalue())
            self._write(day_ms, kind, kept.write_ipc(None, compression="uncompressed").getvalue())

    def _table(self, day_ms: int, kind: str) -> pl.DataFrame:
        try:
            return pl.read_ipc(self._path(day_ms, kind))
        except FileNotFoundError:
            return pl.DataFrame(schema=_SCHEMAS[kind])

    def _write(self, day_ms: int, kind: str, content: bytes) -> None:
        """Replace a file in one step."""
        path = self._path(day_ms, kind)
        draft = path.with_suffix(".draft")
        draft.write_bytes(content)
        draft.replace(path)

    def _read_facts(self, path: Path) -> None:
        try:
            facts = DayFacts.decode(path.read_bytes())
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            return  # it is counted again
        self._facts[facts.day_ms] = facts

    def _path(self, day_ms: int, kind: str) -> Path:
        return self._folder / f"{day_ms // DAY_MS}.{kind}"
