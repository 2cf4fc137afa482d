"""Numbers of a finished command as a file that Prometheus's node exporter collects (its textfile collector)."""

import os
import time
from collections.abc import Mapping
from pathlib import Path


def write_gauges(path: Path, prefix: str, values: Mapping[str, float]) -> None:
    """Write a gauge `<prefix>_<name>` for each value, and `<prefix>_time_seconds`: when. The file appears whole or not at all."""
    named = {**values, "time_seconds": time.time()}
    lines = [f"# TYPE {prefix}_{name} gauge\n{prefix}_{name} {value:.15g}\n" for name, value in named.items()]
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text("".join(lines), "utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
