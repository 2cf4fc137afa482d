"""A training on the screen: its stages while it runs, and what came of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from service.times import format_time

if TYPE_CHECKING:
    from service.model_training import Registered

_TITLES = {
    "replay": "features of the history",
    "calibrate": "members for calibration",
    "distil": "small model",
    "fit": "members on all days",
    "compile": "compile",
    "variants": "variants",
    "thresholds": "thresholds and proof",
}


def show_trained(found: "Registered", *, as_json: bool) -> None:
    """Print what a training found; warnings on stderr."""
    import msgspec

    for warning in found.trained.warnings:
        click.echo(f"note: {warning}", err=True)
    summary = _summary(found)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(summary)).decode())
        return
    click.echo(_text(summary))
    if found.is_champion:
        click.echo(f"{found.reference} is the champion: workers serve it")
    else:
        click.echo(f"{found.reference} is registered; `weir models promote {found.reference}` makes it the champion")


def _summary(found: "Registered") -> dict[str, Any]:
    manifest, files = found.trained.manifest, found.trained.files
    return {
        "model": found.reference,
        "champion": found.is_champion,
        "window": manifest.window,
        "thresholds": manifest.policy.thresholds,
        "member_weights": manifest.member_weights,
        "calibration_slice": manifest.metrics,
        "latency_us_per_row": {name: round(value, 1) for name, value in found.latency_us.items()},
        "bytes": {name: len(data) for name, data in files.items()},
        "parity": manifest.parity,
        "variants": manifest.variants,
        "seconds": {name: round(value, 2) for name, value in found.trained.seconds.items()},
        "warnings": found.trained.warnings,
    }


def _text(summary: dict[str, Any]) -> str:
    window = summary["window"]
    lines = [
        (
            f"{summary['model']}: {window.n_rows:,} transactions, {window.n_frauds:,} known frauds, "
            f"from {format_time(window.from_ms)} as of {format_time(window.to_ms)}"
        ),
        (
            f"calibration slice: {window.n_calibration_rows:,} transactions, {window.n_calibration_frauds:,} frauds "
            f"from {format_time(window.calibration_from_ms)} on; it also set calibration and weights: a first look, not a test"
        ),
        "",
        f"{'model':<22}{'weight':>8}{'avg. precision':>16}{'ROC AUC':>10}",
    ]
    for name, metrics in summary["calibration_slice"].items():
        weight = summary["member_weights"].get(name)
        shown = "" if weight is None else f"{weight:.2f}"
        lines.append(f"{name:<22}{shown:>8}{_number(metrics['average_precision']):>16}{_number(metrics['roc_auc']):>10}")
    lines += ["", f"{'tier':<22}{'review from':>14}{'decline from':>14}"]
    lines += [f"{tier:<22}{found.review:>14.5f}{found.decline:>14.5f}" for tier, found in summary["thresholds"].items()]
    latency, sizes = summary["latency_us_per_row"], summary["bytes"]
    lines += [
        "",
        (
            f"graphs: full {latency['full']} us a row, {sizes['model.onnx'] / 1e6:.1f} MB; "
            f"small {latency['small']} us a row, {sizes['small.onnx'] / 1e6:.1f} MB (batches of 256)"
        ),
        "time: " + ", ".join(f"{_TITLES.get(name, name)} {value:.1f} s" for name, value in summary["seconds"].items()),
    ]
    lines += [
        (
            f"variant {name}: {found.n_bytes / 1e6:.1f} MB ({found.n_bytes_compressed / 1e6:.1f} compressed), "
            f"average precision {_number(found.metrics['average_precision'])}, "
            f"{found.n_flips} of {found.n_rows:,} decisions differ from the full graph's"
        )
        for name, found in summary["variants"].items()
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


@contextmanager
def stages_shown() -> Iterator[Callable[[str, float], None]]:
    """Yield a function of stage and share: bars on a terminal, a line for each finished stage elsewhere (both on stderr)."""
    import sys

    if not sys.stderr.isatty():
        finished: set[str] = set()

        def tell(stage: str, share: float) -> None:
            if share >= 1 and stage not in finished:
                finished.add(stage)
                click.echo(f"done: {_TITLES[stage]}", err=True)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {stage: bars.add_task(title, total=1.0, start=False) for stage, title in _TITLES.items()}

        def show(stage: str, share: float) -> None:
            bars.start_task(tasks[stage])
            bars.update(tasks[stage], completed=share)

        yield show
