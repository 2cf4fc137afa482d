"""`python -m benchmarks.offline`: replay of 2,000,000 transactions by the command, and rebuild into a Redis of its own."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from features.currency import Rates
from features.history import normalised, write_history
from features.keys import Keys
from features.redis_rebuild import STATES_SHARE, Rebuilt, rebuild_states
from features.redis_wire import SingleWire
from features.spec import FeatureSettings, fingerprint
from service.embedded_redis import RedisServer
from service.settings import Settings
from service.wiring import redis_client
from simulate.generate import generate

_N_TRANSACTIONS: Final = 2_000_000
_REBUILD_DAYS: Final = 14
_REBUILD_CARDS: Final = 80_000


@click.command()
@click.option("--transactions", default=_N_TRANSACTIONS, show_default=True, help="Transactions of the replay.")
def main(transactions: int) -> None:
    """Print the figures of the offline side as JSON."""
    click.echo(json.dumps(offline(transactions), indent=2))


def offline(n_transactions: int = _N_TRANSACTIONS) -> dict[str, Any]:
    """Return the figures of the offline side.

    * `replay`: wall and processor seconds and memory of `weir replay`, start and reading of the file included; `replay_to_file`
      the same with `--out`;
    * `rebuild`: entities per second up to the last state (the history is in memory), index entries per second after that.
    """
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.parquet"
        write_history(generate(n_days=n_transactions // 9_900, n_cards=10_000, seed=3), history)
        settings = Path(folder) / "weir.toml"
        settings.touch()
        command = [sys.executable, "-m", "service", "--config", str(settings), "replay", str(history), "--json"]
        _run(command)  # compiles, if nobody did before
        found = {"replay": _run(command), "replay_to_file": _run([*command, "--out", str(Path(folder) / "features.parquet")])}
        history.unlink()
        server = RedisServer(Path(folder) / "redis", is_guarded=True)
        server.start()
        try:
            return found | {"rebuild": asyncio.run(_rebuild(server.url))}
        finally:
            server.kill()


def _run(command: list[str]) -> dict[str, float]:
    """Run a command of `weir` to its end and return what it took."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    answer = json.loads(child.stdout.read())
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return {
        "transactions": answer["vectors"],
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "memory_mb": round(usage.ru_maxrss / 1024),
    }


async def _rebuild(redis_url: str) -> dict[str, float]:
    default = Settings()
    client = redis_client(msgspec.structs.replace(default, redis=msgspec.structs.replace(default.redis, url=redis_url, timeout_ms=10_000)))
    wire, keys, rates = SingleWire(client), Keys("bench:", fingerprint(FeatureSettings())), Rates("EUR")
    history = normalised(generate(n_days=_REBUILD_DAYS, n_cards=_REBUILD_CARDS, seed=4), "simulated")
    end_ms = int(history["event_time_ms"][-1]) + 1
    states_end_s = 0.0

    def progress(share: float) -> None:
        nonlocal states_end_s
        if share <= STATES_SHARE:
            states_end_s = time.perf_counter()

    async def rebuild(n: int) -> Rebuilt:
        return await rebuild_states(
            wire, keys, history.head(n), rates, end_ms=end_ms, index_days=2 * _REBUILD_DAYS, replace=True, progress=progress
        )  # fmt: skip

    await rebuild(1_000)
    began = time.perf_counter()
    found = await rebuild(len(history))
    end_s = time.perf_counter()
    await wire.close()
    await client.aclose()
    return {
        "entities": found.entities,
        "entities_per_s": round(found.entities / (states_end_s - began)),
        "index_entries": found.index_entries,
        "index_entries_per_s": round(found.index_entries / (end_s - states_end_s)),
        "seconds": round(end_s - began, 1),
    }


if __name__ == "__main__":
    main()
