"""`weir report`: what happened in a span of time, as one page to mail or print."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.times import TIME_MS

if TYPE_CHECKING:
    from service.settings import Settings


@click.command(name="report")
@click.option("--from", "from_ms", type=TIME_MS, required=True, help="First event time.")
@click.option("--to", "to_ms", type=TIME_MS, required=True, help="End of the event times, exclusive.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("weir-report.html"), show_default=True, help="File to write."
)
@click.option(
    "--evidently", type=click.Path(dir_okay=False, path_type=Path), help="Also write Evidently's drift report (an extra) to this file."
)
@click.option("--reference-from", type=TIME_MS, help="With --evidently: compare with the archive from here up to --from.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
@click.pass_context
def command(
    context: click.Context, *, from_ms: int, to_ms: int, out: Path, evidently: Path | None, reference_from: int | None, as_json: bool
) -> None:
    """Write one HTML page about a span of event time: drift, quality, alerts, models, incidents and gaps.

    The page needs nothing else: no script, no address is loaded. It is made from monitoring.directory (what weir web keeps),
    the archive and the registry; each that is missing is a sentence on the page. weir web may run meanwhile.

    --evidently compares archived feature vectors by Evidently's own tests: minutes of work, a page of megabytes with scripts.

    \b
    Examples:
      weir report --from 2026-03-01 --to 2026-03-08
      weir report --from 2026-03-01 --to 2026-04-01 --out march.html
      weir report --from 2026-03-08 --to 2026-03-15 --evidently drift.html --reference-from 2026-03-01
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from domain.errors import ConfigError
    from service.context import settings_of
    from service.progress import progress_bar
    from service.report import gather
    from service.report_page import headline, page
    from service.times import now_ms

    if from_ms >= to_ms:
        raise ConfigError("--to must be later than --from")
    if evidently is not None and (reference_from is None or reference_from >= from_ms):
        raise ConfigError("--evidently needs --reference-from, a time before --from: what to compare with")
    settings = settings_of(context).settings
    with progress_bar("reading") as show:
        report = gather(settings, from_ms, to_ms, made_ms=now_ms(), on_progress=show)
    content = page(report).encode()
    try:
        out.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}; choose another file with --out") from error
    if evidently is not None and reference_from is not None:
        _write_evidently(settings, evidently, (reference_from, from_ms, to_ms))
    if as_json:
        click.echo(msgspec.json.encode({"file": str(out), "bytes": len(content), "headline": headline(report)}).decode())
    else:
        click.echo(f"{out}: {headline(report)}")


def _write_evidently(settings: "Settings", path: Path, times_ms: tuple[int, int, int]) -> None:
    """Compare the vectors of two spans, given by their three ends."""
    from features.spec import fingerprint
    from service.evidently_export import archived_vectors, write_evidently

    spec, archive = fingerprint(settings.features.definition()), Path(settings.archive.directory)
    reference, current = (archived_vectors(archive, spec, begin, end) for begin, end in pairwise(times_ms))
    write_evidently(reference, current, path)
