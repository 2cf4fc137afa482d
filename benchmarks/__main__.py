"""`python -m benchmarks`: throughput and latency of the whole service on this machine, as a table or JSON."""

import json
import logging
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.monitoring import counting
from benchmarks.offline import offline
from benchmarks.parts import parts, training
from benchmarks.stage import stage, worker_of
from benchmarks.store import store
from benchmarks.streaming import latency, throughput
from service import logs
from service.history_records import HistoryRecords


@click.command()
@click.option("--transactions", default=150_000, show_default=True, help="Transactions of the throughput run.")
@click.option("--rate", "rates", type=int, multiple=True, default=(1_000, 5_000), show_default=True, help="Rates of the latency runs, 1/s.")
@click.option("--seconds", default=20.0, show_default=True, help="Length of each latency run.")
@click.option("--train/--no-train", default=False, help="Also time a training on 28 days of 10,000 transactions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
@click.option(
    "--directory", type=click.Path(file_okay=False, path_type=Path), default=Path("var/bench"), show_default=True, help="Where it runs."
)
def main(*, transactions: int, rates: tuple[int, ...], seconds: float, train: bool, as_json: bool, directory: Path) -> None:
    """Measure what the README promises. Broker, Redis, worker and this program share the machine's cores."""
    logs.configure(level=logging.ERROR)
    console = Console(stderr=True, highlight=False)
    result: dict[str, Any] = {"machine": machine(), "commit": commit(), "peers": {}}
    with stage(directory, console) as place:
        records = HistoryRecords(place.world.history, from_ms=place.world.start_ms)
        console.print(f"throughput: {transactions:,} transactions")
        found = throughput(place, records, 0, transactions)
        result["cpu_us_per_tx"] = found.pop("cpu_us_per_tx")
        result["throughput"], first = found, transactions
        result["latency_ms"] = {}
        with worker_of(place):
            for rate in rates:
                console.print(f"latency at {rate:,}/s for {seconds:g} s")
                result["latency_ms"][str(rate)] = latency(place, records, first, rate=rate, seconds=seconds)
                first += int(rate * seconds)
        result["parts"] = parts(place) | {"counting": counting(place.settings, place.world.history)}
        result["parts"] |= training(place) if train else {}
    console.print("parts: store and offline features, each alone")
    result["parts"] |= {"store": store(60_000), "offline": offline()}
    click.echo(json.dumps(result, indent=None if as_json else 2))


def machine() -> str:
    """Return cores and processor of this machine."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.processor()}, Python {platform.python_version()}"


def commit() -> str:
    """Return the commit that is checked out."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
