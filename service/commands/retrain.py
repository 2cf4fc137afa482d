"""`weir retrain`: a candidate from the archive, judged and put into the shadow; once, or again and again."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.times import DURATION_MS

if TYPE_CHECKING:
    from service.retraining_log import Retraining


@click.command(name="retrain")
@click.option("--archive", type=click.Path(file_okay=False, path_type=Path), help="What to train on; default: archive.directory.")
@click.option(
    "--options", "options_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Training options (TOML) that differ from the champion's.",
)  # fmt: skip
@click.option("--every", "every_ms", type=DURATION_MS, metavar="TIME", help="Stay and repeat so often, like 7d or 12h.")
@click.option("--why", default="", help="What made it necessary, for the history.")
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as JSON; with --every one line an attempt.")
@click.pass_context
def command(
    context: click.Context, *, archive: Path | None, options_file: Path | None, every_ms: int | None, why: str, as_json: bool
) -> None:
    """Train a candidate on the archive, let the gate judge it against the champion, and put it into the shadow if it passes.

    The recipe is the champion's, on newer days. A refused candidate stays registered, its verdict beside it; so does one that
    passes while another trial is under way. Nothing becomes champion here: the trial decides. One at a time for a registry.
    The exit code is 1 if the gate refuses the candidate, 2 if there is none (the archive is too short, or holds no labels).

    \b
    Examples:
      weir retrain --why "new merchants since May"
      weir retrain --every 7d
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.context import settings_of
    from service.progress import stage_progress
    from service.retraining import retrain
    from service.retraining_schedule import repeat
    from service.wiring import registry_desk_of

    settings = settings_of(context).settings
    folder = archive or Path(settings.archive.directory)

    def attempt(reason: str = why) -> "Retraining":
        with stage_progress() as show:
            return retrain(settings, folder, options_file=options_file, why=reason, progress=show)

    if every_ms is None:
        found = attempt()
        _tell(found, as_json=as_json, is_one_of_many=False)
        context.exit(1 if found.outcome == "refused" else 0)
    repeat(
        lambda: attempt(why or "on schedule"), every_ms, registry_desk_of(settings),
        tell=lambda found: _tell(found, as_json=as_json, is_one_of_many=True),
    )  # fmt: skip


def _tell(found: "Retraining", *, as_json: bool, is_one_of_many: bool) -> None:
    import msgspec

    if as_json:
        line = msgspec.json.encode(found)
        click.echo((line if is_one_of_many else msgspec.json.format(line)).decode())
        return
    from service.gate_words import verdict_text

    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if found.verdict is not None:
        click.echo(verdict_text(found.verdict) + "\n")
    click.echo(f"{found.outcome}: {found.sentence}")
