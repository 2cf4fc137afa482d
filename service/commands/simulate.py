"""`weir simulate`: a history with frauds and labels, from a seed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.times import TIME_MS

if TYPE_CHECKING:
    import polars as pl


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--days", type=int, default=60, show_default=True, help="Days to simulate.")
@click.option("--cards", type=int, default=3000, show_default=True, help="Cards that take part.")
@click.option("--per-day", type=float, default=1.0, show_default=True, help="Mean transactions per card and day.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed and options give the same file.")
@click.option("--start", "start_ms", type=TIME_MS, default="2025-01-01", show_default=True, metavar="DATE", help="First day (UTC).")
@click.option("--fraud-share", type=float, default=0.005, show_default=True, help="Share of fraudulent transactions.")
@click.option(
    "--drift", "drifts", multiple=True, metavar="KIND@DAY",
    help="Change the world from a day on (0 = the first): new_story, inflation, channel_shift or broken_field. May be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    out: Path,
    days: int,
    cards: int,
    per_day: float,
    seed: int,
    start_ms: int,
    fraud_share: float,
    drifts: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Write a history of simulated transactions with labels to OUT (Parquet).

    The column `story` tells the truth, for evaluation only; `is_fraud` and `label_time_ms` are what a bank would know:
    late, incomplete and sometimes wrong.

    Example: weir simulate var/history.parquet --days 90 --cards 5000 --drift inflation@60
    """
    from features.history import write_history
    from service.progress import progress_bar
    from simulate.drift import parse_drift
    from simulate.generate import generate

    with progress_bar("simulating") as progress:
        history = generate(
            n_days=days, n_cards=cards, seed=seed, start_ms=start_ms, per_day=per_day,
            fraud_share=fraud_share, drifts=[parse_drift(text) for text in drifts], progress=progress,
        )  # fmt: skip
    write_history(history, out)
    summary = _summary(history, out)
    if as_json:
        click.echo(json.dumps(summary))
        return
    click.echo(
        f"{out}: {history.height:,} transactions of {summary['cards']:,} cards at {summary['merchants']:,} merchants, "
        f"{summary['frauds']:,} frauds (share {summary['fraud_share']:.2%}), {summary['reported']:,} reports"
    )


def _summary(history: "pl.DataFrame", out: Path) -> dict[str, Any]:
    frauds = history["story"].drop_nulls()
    return {
        "file": str(out),
        "transactions": history.height,
        "cards": history["card_id"].n_unique(),
        "merchants": history["merchant_id"].n_unique(),
        "frauds": len(frauds),
        "fraud_share": round(len(frauds) / history.height, 6) if history.height else 0.0,
        "reported": int(history["label_time_ms"].count()),
        "stories": {name: int(count) for name, count in frauds.value_counts().sort("story").iter_rows()},
    }
