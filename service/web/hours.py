"""Counters by hour of event time, of the whole fleet, on disk for 35 days: what drift is measured on."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from domain.errors import ConfigError
from monitoring.packed import Counts, unpack

FILE: Final = "hours.sqlite"
"""In the folder `monitoring.directory`."""
KEPT_H: Final = 35 * 24
"""Hours behind the newest one of a model that are kept."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS hours (
    model TEXT NOT NULL, hour INTEGER NOT NULL, worker TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (model, hour, worker)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (
    model TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (model, name)
) WITHOUT ROWID;
"""


class HourLog:
    """One file; every change is a transaction. A worker's hour is cumulative, so writing it again replaces it.

    Used from one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, making it and its folder on first use.

        Raises:
            ConfigError: It cannot be used.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, timeout=5.0)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"cannot use {path} ({error}); choose another folder with monitoring.directory, or remove the file"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def put(self, model: str, worker: str, hours: Mapping[int, bytes]) -> None:
        """Keep packed counters of one worker's hours."""
        with self._db:
            rows = [(model, hour, worker, content) for hour, content in hours.items()]
            self._db.executemany("INSERT OR REPLACE INTO hours VALUES (?, ?, ?, ?)", rows)

    def forget(self, model: str, before_hour: int) -> None:
        """Forget what is older than `before_hour`."""
        with self._db:
            self._db.execute("DELETE FROM hours WHERE model = ? AND hour < ?", (model, before_hour))

    def read(self, model: str, hours: Iterable[int] | None = None) -> dict[int, Counts]:
        """Return the fleet's counts by hour; what cannot be read is left out.

        Args:
            model: `name@version`.
            hours: Which; None: all.
        """
        query = "SELECT hour, content FROM hours WHERE model = ?"
        found: dict[int, Counts] = {}
        if hours is None:
            with closing(self._db.execute(query, (model,))) as rows:
                _add(found, rows)
        else:
            for hour in hours:
                with closing(self._db.execute(f"{query} AND hour = ?", (model, hour))) as rows:
                    _add(found, rows)
        return found

    def models(self) -> list[str]:
        """Return the models that something was counted for."""
        with closing(self._db.execute("SELECT DISTINCT model FROM hours ORDER BY model")) as rows:
            return [model for (model,) in rows]

    def keep(self, model: str, name: str, content: bytes) -> None:
        """Keep a state of a model's evaluation under a name."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (model, name, content))

    def kept(self, model: str, name: str) -> bytes | None:
        """Return what was kept under a name."""
        with closing(self._db.execute("SELECT content FROM kept WHERE model = ? AND name = ?", (model, name))) as rows:
            row = rows.fetchone()
        return None if row is None else bytes(row[0])


def _add(found: dict[int, Counts], rows: Iterable[tuple[int, bytes]]) -> None:
    for hour, content in rows:
        try:
            counts = unpack(content)
        except ValueError:
            continue
        before = found.get(hour)
        if before is None:
            found[hour] = counts
        elif before.bins.shape == counts.bins.shape:
            found[hour] = before + counts
