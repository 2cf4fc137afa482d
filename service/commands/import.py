"""`weir import`: any CSV or Parquet file of card transactions -> history."""  # noqa: N999 - the file has the command's name

import json
from pathlib import Path

import click

from service.times import format_time


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--mapping", "mapping_file", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Which column means what (TOML)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(file: Path, out: Path, mapping_file: Path, *, as_json: bool) -> None:
    """Turn FILE (CSV or Parquet) into the history OUT (Parquet).

    Rows that cannot be read are counted by reason and written, card numbers masked, to OUT.rejected.jsonl.

    Example: weir import transactions.csv var/history.parquet --mapping docs/examples/sparkov.toml
    """
    from features.foreign_table import read_foreign
    from features.history import write_history
    from features.importing import import_table
    from features.mapping import load_mapping
    from service.progress import progress_bar

    mapping = load_mapping(mapping_file)
    with progress_bar("importing") as progress:
        table = read_foreign(file, mapping.foreign_columns())
        progress(0.3)
        imported = import_table(table, mapping)
        progress(0.8)
        write_history(imported.history, out)
        side_file = out.with_name(out.name + ".rejected.jsonl")
        if imported.rejected.is_empty():
            side_file.unlink(missing_ok=True)
        else:
            imported.rejected.write_ndjson(side_file)
    history, n_rejected = imported.history, imported.rejected.height
    times = history["event_time_ms"]
    summary = {
        "file": str(out),
        "rows": history.height + n_rejected,
        "transactions": history.height,
        "cards": history["card_id"].n_unique(),
        "frauds": int(history["is_fraud"].sum()),
        "first": format_time(times[0]) if history.height else None,
        "last": format_time(times[-1]) if history.height else None,
        "rejected": n_rejected,
        "reasons": imported.reasons(),
        "rejected_file": str(side_file) if n_rejected else None,
    }
    click.echo(json.dumps(summary) if as_json else _text(summary, imported.reasons()))


def _text(summary: dict[str, object], reasons: dict[str, int]) -> str:
    first = (
        f"{summary['file']}: {summary['transactions']:,} of {summary['rows']:,} rows, {summary['cards']:,} cards, "
        f"{summary['frauds']:,} frauds, {summary['first']} to {summary['last']}"
    )
    lines = [first]
    if reasons:
        lines.append(f"{summary['rejected']:,} rows rejected, see {summary['rejected_file']}:")
        lines += [f"  {count:>9,}  {reason}" for reason, count in reasons.items()]
    return "\n".join(lines)
