"""`weir models gate`: may a model become champion?"""

from pathlib import Path

import click

from service.gate_words import verdict_text


@click.command(name="gate")
@click.argument("reference")
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.pass_context
def gate(context: click.Context, reference: str, history: Path, *, as_json: bool) -> None:
    """Judge a model against the champion on HISTORY; the verdict stands beside its bundle, and `promote` goes by it.

    Both are trained again for the newest weeks and compared; the bundle itself is tried on days that it has not learnt from, with blocks
    missing, amounts changed and purchases split; groups of the columns in gate.fairness must not be stopped more often than others.
    The exit code is 1 if the gate refuses the model. docs/models.md defines every check.

    \b
    Example:
      weir models gate weir@1f2e3d4c5b6a var/history.parquet
    """  # noqa: D301 - click's mark for lines that stay as they are
    import msgspec

    from features.history import read_history
    from service.context import settings_of
    from service.gating import judge
    from service.progress import stage_progress

    settings = settings_of(context).settings
    with stage_progress() as show:
        verdict = judge(reference, read_history(history), settings, origin=history.name, progress=show)
    click.echo(msgspec.json.format(msgspec.json.encode(verdict)).decode() if as_json else verdict_text(verdict))
    context.exit(1 if verdict.outcome == "refused" else 0)
