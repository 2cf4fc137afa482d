"""The files of an archive: each name tells topic, incarnation of the topic, partition and offsets, so no file must be opened.

`<topic>/<YYYY-MM-DD>/<HH>/<topic>-<uuid8>-<partition>-<first offset>-<last offset>[.lost|.expired].parquet`, both offsets
included. A file whose range lies within another's is superseded: its rows are in the other one. `lost` files have no rows and
say that Kafka had removed the range before it was archived; `expired` ones keep a position whose rows have been removed.
"""

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, NamedTuple

from domain.errors import HistoryError

#: Stands in the folder of every archive, and of nothing else.
MARKER: Final = "archive.json"
UNFINISHED: Final = ".unfinished"

Kind = Literal["records", "lost", "expired"]

_NAME: Final = re.compile(
    r"(?P<topic>.+)-(?P<uuid8>[0-9a-f]{8})-(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)(?:\.(?P<kind>lost|expired))?\.parquet"
)


class Partition(NamedTuple):
    """A partition of one incarnation of a topic."""

    topic: str
    """Without the installation's prefix."""
    uuid8: str
    """The first 8 hex digits of the topic's UUID."""
    number: int


class ArchiveFile(NamedTuple):
    """One file; equal to the tuple of its parts."""

    path: Path
    partition: Partition
    first: int
    """Offset of the first record that the file answers for."""
    last: int
    """The last one, included. Every offset between is in the file, or was never a record."""
    kind: Kind

    @property
    def day(self) -> str:
        """The UTC day of the folder, YYYY-MM-DD."""
        return self.path.parent.parent.name

    @property
    def hour(self) -> tuple[str, str]:
        """The UTC day and hour of the folder; the broker's append time of the first record."""
        return self.day, self.path.parent.name


def file_name(partition: Partition, first: int, last: int, kind: Kind = "records") -> str:
    """Return the name of a file.

    >>> file_name(Partition("labels.v1", "0a1b2c3d", 2), 100, 149, "lost")
    'labels.v1-0a1b2c3d-2-100-149.lost.parquet'
    """
    suffix = "" if kind == "records" else f".{kind}"
    return f"{partition.topic}-{partition.uuid8}-{partition.number}-{first}-{last}{suffix}.parquet"


def parse(path: Path) -> ArchiveFile | None:
    """Return the file that `path` names; None if it is not one of an archive."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return None
    partition = Partition(found["topic"], found["uuid8"], int(found["partition"]))
    kinds: dict[str | None, Kind] = {None: "records", "lost": "lost", "expired": "expired"}
    return ArchiveFile(path, partition, int(found["first"]), int(found["last"]), kinds[found["kind"]])


def is_archive(path: Path) -> bool:
    """Tell whether `path` is the folder of an archive."""
    return (path / MARKER).is_file()


def files_of(directory: Path, topic: str) -> list[ArchiveFile]:
    """Return the files of a topic, superseded ones too, by partition, then by first offset, the widest first."""
    found = (parse(path) for path in (directory / topic).glob("*/*/*.parquet"))
    kept = [file for file in found if file is not None and file.partition.topic == topic]
    return sorted(kept, key=lambda file: (file.partition, file.first, -file.last, file.kind != "records"))


def by_partition(files: Iterable[ArchiveFile]) -> dict[Partition, list[ArchiveFile]]:
    """Return the files of each partition; `files` come as from `files_of`."""
    return {partition: list(group) for partition, group in groupby(files, key=lambda file: file.partition)}


def current(files: Iterable[ArchiveFile]) -> tuple[list[ArchiveFile], list[ArchiveFile]]:
    """Return the files that count and the superseded ones; `files` come as from `files_of`.

    Raises:
        HistoryError: Two files share some offsets, but neither holds the other.
    """
    kept: list[ArchiveFile] = []
    superseded: list[ArchiveFile] = []
    for file in files:
        before = kept[-1] if kept and kept[-1].partition == file.partition else None
        if before is None or file.first > before.last:
            kept.append(file)
        elif file.last <= before.last:
            superseded.append(file)
        else:
            raise HistoryError(
                f"{before.path} and {file.path.name} share offsets {file.first} to {before.last}, but neither holds the other; "
                "move one of them out of the archive"
            )
    return kept, superseded


def next_offsets(directory: Path, topic: str) -> dict[Partition, int]:
    """Return the offset after the last one archived, of each partition of each incarnation of `topic`."""
    return {partition: max(file.last for file in files) + 1 for partition, files in by_partition(files_of(directory, topic)).items()}
