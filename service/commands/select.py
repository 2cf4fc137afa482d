"""`weir select`: which features earn their place."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.times import TIME_MS

if TYPE_CHECKING:
    from models.feature_selection import SelectionReport


@click.command(name="select")
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option("--options", "options_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Training options (TOML).")
@click.option("--min-frauds", type=click.IntRange(min=5), help="Frauds that calibration needs; default: 100.")
@click.option("--from", "from_ms", type=TIME_MS, help="As of `weir train`.")
@click.option("--to", "to_ms", type=TIME_MS, help="As of `weir train`.")
@click.option("--top", type=click.IntRange(min=1), default=30, show_default=True, help="So many features in the table.")
@click.option("--json", "as_json", is_flag=True, help="Print every feature as JSON.")
@click.pass_context
def command(
    context: click.Context,
    history: Path,
    options_file: Path | None,
    min_frauds: int | None,
    from_ms: int | None,
    to_ms: int | None,
    top: int,
    *,
    as_json: bool,
) -> None:
    """Report what each feature of HISTORY is worth to the XGBoost member, and what it does with fewer of them.

    The report changes nothing. Features that a model should not use go into the option `without` of `weir train --options`.

    \b
    Examples:
      weir select var/history.parquet
      weir select var/history.parquet --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from models.feature_selection import select
    from service.context import settings_of
    from service.prepared_training import training_rows
    from service.progress import progress_bar
    from service.training_options import chosen_options

    settings = settings_of(context).settings
    options = chosen_options(settings, options_file, min_frauds=min_frauds)
    with progress_bar("select") as progress:
        dataset, rest = training_rows(history, settings, options, from_ms=from_ms, to_ms=to_ms, progress=progress)
        found = select(dataset, options, progress=rest)
    click.echo(msgspec.json.format(msgspec.json.encode(found)).decode() if as_json else _text(found, top))


def _text(found: "SelectionReport", top: int) -> str:
    lines = [
        f"{found.n_rows:,} transactions of the calibration days, {found.n_frauds:,} frauds (good ones sampled down)",
        "",
        f"{'feature':<34}{'known':>7}{'AUC':>7}{'gain':>8}{'loss of avg. prec.':>21}  verdict",
    ]
    for one in found.features[:top]:
        verdict = f"{one.verdict} ({one.redundant_with})" if one.redundant_with else one.verdict
        loss = f"{one.loss:.4f} +- {one.loss_sd:.4f}"
        lines.append(f"{one.name:<34}{one.known_share:>7.0%}{one.auc_alone:>7.3f}{one.gain_share:>8.1%}{loss:>21}  {verdict}")
    counts: dict[str, int] = {}
    for one in found.features:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
    lines += ["", "of all features: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())), ""]
    lines.append(f"{'trained on':<34}{'features':>9}{'avg. precision':>16}")
    lines += [f"{one.name:<34}{one.n_features:>9}{one.average_precision:>16.4f}" for one in found.sets]
    return "\n".join([*lines, "", "The order was found on the same days: the sets of strongest features are flattered."])
