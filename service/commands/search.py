"""`weir search`: better numbers for the XGBoost member, by folds in time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.times import TIME_MS

if TYPE_CHECKING:
    from models.search import Found, Proposer


@click.command(name="search")
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option("--trials", "n_trials", type=click.IntRange(1, 10_000), default=30, show_default=True, help="Points to try.")
@click.option("--most-rounds", type=click.IntRange(1, 5_000), default=800, show_default=True, help="Boosting rounds of a trial, at most.")
@click.option("--sampler", type=click.Choice(["tpe", "random"]), default="tpe", show_default=True, help="tpe needs Optuna.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the best options here (TOML), for `weir train --options`."
)
@click.option("--options", "options_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Where to start (TOML).")
@click.option("--min-frauds", type=click.IntRange(min=5), help="Frauds that calibration needs; default: 100.")
@click.option("--from", "from_ms", type=TIME_MS, help="As of `weir train`.")
@click.option("--to", "to_ms", type=TIME_MS, help="As of `weir train`.")
@click.option("--json", "as_json", is_flag=True, help="Print every trial as JSON.")
@click.pass_context
def command(
    context: click.Context,
    history: Path,
    n_trials: int,
    sampler: str,
    most_rounds: int,
    out: Path | None,
    options_file: Path | None,
    min_frauds: int | None,
    from_ms: int | None,
    to_ms: int | None,
    *,
    as_json: bool,
) -> None:
    """Search for better numbers of the XGBoost member on HISTORY.

    Every trial is trained on earlier and judged on later days, three times; the best one is then judged once on the last
    days, which no trial saw. Whether it helps the ensemble is for `weir evaluate --configurations` to say.

    \b
    Examples:
      weir search var/history.parquet --trials 30 --out best.toml
      weir search var/history.parquet --sampler random --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from models.search import RandomProposer, search, space_of
    from service.context import settings_of
    from service.optuna_search import OptunaProposer
    from service.prepared_training import training_rows
    from service.progress import progress_bar
    from service.training_options import chosen_options

    settings = settings_of(context).settings
    options = chosen_options(settings, options_file, min_frauds=min_frauds)
    space = space_of(most_rounds)
    proposer: Proposer = OptunaProposer(options.seed, space) if sampler == "tpe" else RandomProposer(options.seed, space)
    with progress_bar("search") as progress:
        dataset, rest = training_rows(history, settings, options, from_ms=from_ms, to_ms=to_ms, progress=progress)
        found = search(dataset, options, proposer, n_trials=n_trials, progress=lambda n, _best: rest(n / n_trials))
    if out is not None:
        out.write_text(_toml(found.best.options), "utf-8")
    click.echo(msgspec.json.format(msgspec.json.encode(found)).decode() if as_json else _text(found, out))


def _text(found: "Found", out: Path | None) -> str:
    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    lines = [f"{'average precision':<24}{'folds':>10}{'last days':>12}"]
    for name, trial, last in (
        ("as it was", found.start, found.start_on_last_days), ("best of the search", found.best, found.best_on_last_days)
    ):  # fmt: skip
        lines.append(f"{name:<24}{trial.average_precision:>10.4f}{shown(last):>12}")
    if not found.best.options:
        return "\n".join([*lines, "", f"none of {len(found.trials)} trials was better than the options as they were"])
    return "\n".join([*lines, "", _toml(found.best.options) + (f"\nwritten to {out}" if out else "")])


def _toml(tables: Any) -> str:
    return "\n".join(
        f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items()) for section, entries in tables.items()
    )
