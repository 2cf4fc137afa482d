"""`weir replay`: the offline features of a history, and whether serving used the same."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.times import TIME_MS

if TYPE_CHECKING:
    from features.feature_row import LoggedRows
    from service.settings import Settings


@click.command(name="replay")
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the features to this Parquet file.")
@click.option("--order", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Output of `weir tail features --json`.")
@click.option("--verify", is_flag=True, help="Compare with the vectors in ORDER, bit for bit; exit code 1 if any differs.")
@click.option("--from", "from_ms", type=TIME_MS, help="First event time; with --order: what is older applies in time order.")
@click.option("--to", "to_ms", type=TIME_MS, help="Last event time (not included).")
@click.option("--gauges", type=click.Path(dir_okay=False, path_type=Path), help="Also write the result to this file, for Prometheus.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    context: click.Context, history: Path, out: Path | None, order: Path | None, from_ms: int | None, to_ms: int | None,
    gauges: Path | None, *, verify: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compute the features of HISTORY offline, by the kernel that serves.

    Without --order transactions go by (event time, id), and a label applies before the first later transaction. With it
    every entity's records go in the order in which serving applied them: then the features are those that were served.

    \b
    Example:
      weir replay var/history.parquet --out features.parquet --from 2026-03-01
      weir tail features --json --from-beginning --until-end > order.jsonl
      weir replay var/history.parquet --order order.jsonl --from 2026-03-01 --verify

    \b
    A nightly job finds every difference between training and serving. HISTORY must hold the past from which the
    state was built, up to --from, and all that was served since; ORDER must begin there.
      weir tail features --json --from-beginning --until-end > order.jsonl
      weir replay var/archive --order order.jsonl --from 2026-03-01 --verify \\
        --json --gauges /var/lib/node_exporter/weir_replay.prom || echo "training and serving differ"
    Counts in the result: compared, different (of those, in any bit), misplaced (records applied at another place than
    logged), approximate (flagged replay_approx, left out), duplicates and degraded (answered without any state, left out).
    """  # noqa: D301 - click's mark for lines that stay as they are
    from features.spec import FEATURES
    from features.vector_file import write_vectors
    from service.context import settings_of
    from service.gauge_file import write_gauges
    from service.progress import progress_bar

    if verify and order is None:
        raise click.UsageError("--verify compares with what serving logged: give --order FILE")
    settings = settings_of(context).settings
    with progress_bar("replaying") as progress:
        names, times, vectors, report = _replay(settings, history, order, from_ms, to_ms, progress)
    report |= {"vectors": len(vectors), "features": len(FEATURES)}
    if out is not None:
        write_vectors(out, names, times, vectors)
    if gauges is not None:
        write_gauges(gauges, "weir_replay", report)
    click.echo(json.dumps(report) if as_json else _sentence(report))
    if verify and (report["different"] or report["misplaced"] or not report["compared"]):
        sys.exit(1)


def _replay(
    settings: "Settings", history: Path, order: Path | None, from_ms: int | None, to_ms: int | None, progress: Any
) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return ids, times and vectors of the kept transactions, and the counts of a comparison."""
    import numpy as np

    from features.columns import columns_of
    from features.history import read_history
    from features.offline import default_events, replay_columns
    from service.wiring import rates_of

    rates, definition = rates_of(settings), settings.features.definition()
    frame = read_history(history, with_further=False)
    if order is not None:
        rows, vectors, report = _in_order(frame, order, definition, rates, from_ms, progress)
        return frame["transaction_id"][rows], frame["event_time_ms"][rows], vectors, report
    columns, events = columns_of(frame, rates), default_events(frame)
    frame = frame.select("transaction_id", "event_time_ms")  # the other columns are let go: there is not room for everything
    times = frame["event_time_ms"]
    keep = ((times >= (from_ms or 0)) & (times < (to_ms if to_ms is not None else 1 << 62))).to_numpy()
    vectors = replay_columns(columns, events, definition, rates, keep=keep, progress=progress)
    rows = np.flatnonzero(keep)
    return frame["transaction_id"][rows], times[rows], vectors, {}


def _in_order(frame: Any, order: Path, definition: Any, rates: Any, from_ms: int | None, progress: Any) -> tuple[Any, Any, dict[str, Any]]:
    import numpy as np
    import polars as pl

    from domain.errors import HistoryError
    from features.feature_row import read_lines
    from features.layout import TRANSACTION
    from features.offline import LoggedOrder, replay_in_order
    from features.spec import fingerprint

    with order.open("rb") as file:
        logged = read_lines(file)
    if not logged.transaction_id:
        raise HistoryError(f"{order} holds no row; make it with `weir tail features --json --from-beginning --until-end`")
    if logged.specs != {fingerprint(definition)}:
        raise HistoryError(f"the order was served with feature spec {sorted(logged.specs)}, these settings are {fingerprint(definition)}")
    is_transaction = logged.kind == TRANSACTION
    ids = pl.Series("transaction_id", logged.transaction_id)
    start_ms = from_ms if from_ms is not None else int(logged.time_ms[is_transaction].min())
    logged_order = LoggedOrder(ids, logged.kind, logged.time_ms, logged.positions)
    rows, found = replay_in_order(frame, logged_order, definition, rates, start_ms=start_ms, progress=progress)
    report = _compare(frame, rows, found.vectors, logged, np.flatnonzero(is_transaction))
    report |= {"misplaced": found.n_misplaced, "repeated": logged.n_repeated}
    return rows, found.vectors, report | {"duplicates": logged.n_duplicates, "degraded": logged.n_degraded}


def _compare(frame: Any, rows: Any, vectors: Any, logged: "LoggedRows", transactions: Any) -> dict[str, int]:
    import numpy as np

    place = {name: i for i, name in enumerate(frame["transaction_id"][rows].to_list())}
    bits = vectors.view(np.uint32)
    compared = different = approximate = 0
    for i in transactions.tolist():
        if not logged.is_exact[i]:
            approximate += 1
        elif logged.vectors[i]:
            compared += 1
            served = np.frombuffer(logged.vectors[i], "<u4")
            different += not np.array_equal(served, bits[place[logged.transaction_id[i]]])
    return {"compared": compared, "different": different, "approximate": approximate}


def _sentence(report: dict[str, Any]) -> str:
    if "compared" not in report:
        return f"{report['vectors']:,} vectors of {report['features']} features"
    return (
        f"{report['compared']:,} served vectors compared: {report['different']:,} differ in any bit; "
        f"{report['misplaced']:,} records at another place; left out: {report['approximate']:,} flagged replay_approx, "
        f"{report['duplicates']:,} duplicates and {report['degraded']:,} degraded answers, which used no state"
    )
