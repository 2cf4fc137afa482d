"""`weir models`: what the registry holds, and which model is champion."""

from typing import TYPE_CHECKING, Any

import click

from service.add_member_command import add_member
from service.authorship import authored
from service.gate_command import gate
from service.rollout_commands import canary, end, promote, rollback, shadow
from service.times import format_time
from service.variants_command import variants

if TYPE_CHECKING:
    from models.registry import Entry


@click.group(name="models")
def command() -> None:
    """List, show, verify, try out and promote models.

    A model is named by an alias (champion, challenger, previous), by name@version, or by the beginning of its version.

    \b
    Example:
      weir models list
    """  # noqa: D301 - click's mark for lines that stay as they are


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def list_models(context: click.Context, *, as_json: bool) -> None:
    """List every model of the registry, oldest first.

    \b
    Example:
      weir models list --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.context import settings_of
    from service.wiring import registry_of

    settings = settings_of(context).settings
    registry = registry_of(settings)
    entries = registry.entries()
    if as_json:
        _print([_row(entry) for entry in entries])
        return
    for broken in sorted(set(registry.names()) - {entry.reference for entry in entries}):
        click.echo(f"{broken} cannot be read: weir models verify {broken}", err=True)
    if not entries:
        click.echo(f"the registry {registry} is empty; train a model: weir train HISTORY")
        return
    click.echo(f"{'model':<32}{'alias':<20}{'registered':<22}{'trained as of':<22}{'avg. precision (slice)':>22}")
    for entry in entries:
        row = _row(entry)
        precision = row["average_precision"]
        shown = "-" if precision is None else f"{precision:.4f}"
        times = f"{format_time(entry.registered_ms):<22}{format_time(entry.manifest.window.to_ms):<22}"
        click.echo(f"{entry.reference:<32}{', '.join(entry.aliases):<20}{times}{shown:>22}")


@command.command(name="show")
@click.argument("reference")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest and the trials as JSON.")
@click.pass_context
def show(context: click.Context, reference: str, *, as_json: bool) -> None:
    """Verify a model's signature and files, and print its card, what happened to it, and its trials with their evidence.

    \b
    Examples:
      weir models show champion
      weir models show challenger
    """  # noqa: D301 - click's mark for lines that stay as they are
    from models.bundle import CARD, verify_bundle
    from models.gate import read_verdict
    from service.context import settings_of
    from service.gate_words import verdict_text
    from service.registry_words import event_sentence
    from service.rollout_record import read_trials
    from service.rollout_words import trial_lines
    from service.wiring import registry_of, verifying_key_of

    settings = settings_of(context).settings
    registry = registry_of(settings)
    folder, trials = registry.resolve(reference), read_trials(registry.beside(reference))
    manifest, version, _ = verify_bundle(folder, verifying_key_of(settings))
    verdict = read_verdict(registry.beside(f"{manifest.name}@{version}"))
    if as_json:
        _print({"model": f"{manifest.name}@{version}", "manifest": manifest, "trials": trials, "verdict": verdict})
        return
    click.echo((folder / CARD).read_text("utf-8"))
    for event in registry.history():
        if event.model == f"{manifest.name}@{version}":
            click.echo(f"{format_time(event.time_ms)}  {event_sentence(event)}")
    for trial in trials:
        click.echo("\n".join(["", *trial_lines(trial), ""]))
    if verdict is not None:
        click.echo(f"\n{verdict_text(verdict)}\n")
    click.echo(f"{manifest.name}@{version}, feature spec {manifest.spec}; signature and files verified")


@command.command(name="verify")
@click.argument("references", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
@click.pass_context
def verify(context: click.Context, references: tuple[str, ...], *, as_json: bool) -> None:
    """Load models (all of them, if none is named) as a worker would: signature, files, features, golden rows.

    The exit code is 1 if one fails.

    \b
    Examples:
      weir models verify champion
      weir models verify
    """  # noqa: D301 - click's mark for lines that stay as they are
    from domain.errors import ConfigError, WeirError
    from features.spec import fingerprint
    from models.bundle import load_bundle
    from service.context import settings_of
    from service.wiring import registry_of, verifying_key_of

    settings = settings_of(context).settings
    registry, key, spec = registry_of(settings), verifying_key_of(settings), fingerprint(settings.features.definition())
    verdicts = []
    for model in references or registry.names():
        problem = ""
        try:
            load_bundle(registry.resolve(model), key, spec)
        except ConfigError:
            raise
        except WeirError as error:
            problem = str(error)
        verdicts.append({"model": model, "ok": not problem, "problem": problem})
        if not as_json:
            click.echo(f"{model}: {problem or 'verified'}")
    if as_json:
        _print(verdicts)
    context.exit(0 if all(verdict["ok"] for verdict in verdicts) else 1)


@command.command(name="history")
@click.argument("reference", required=False)
@click.option("--last", type=click.IntRange(min=1), default=30, show_default=True, help="So many events.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def history(context: click.Context, reference: str | None, *, last: int, as_json: bool) -> None:
    """Tell what happened to the registry (or one model): when, what, by whom and why; newest first.

    \b
    Example:
      weir models history champion
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.context import settings_of
    from service.registry_words import event_sentence
    from service.wiring import registry_of

    registry = registry_of(settings_of(context).settings)
    wanted = registry.reference(reference) if reference else None
    events = [event for event in reversed(registry.history()) if wanted in (None, event.model)][:last]
    if as_json:
        _print(events)
        return
    for event in events:
        click.echo(f"{format_time(event.time_ms)}  {event_sentence(event)}")


@command.command(name="gc")
@click.option("--keep", type=click.IntRange(min=0), default=20, show_default=True, help="So many of the newest models without alias stay.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@authored
@click.option("--json", "as_json", is_flag=True, help="Print the models as JSON.")
@click.pass_context
def collect(context: click.Context, *, keep: int, dry_run: bool, who: str, why: str, as_json: bool) -> None:
    """Delete old models. Never one with an alias or on trial, never one younger than a day.

    Manifest, signature and card of a deleted model stay in the registry's folder `beside`.

    \b
    Example:
      weir models gc --keep 10
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.context import settings_of
    from service.wiring import registry_of

    registry = registry_of(settings_of(context).settings)
    found = registry.collectable(keep) if dry_run else registry.collect(keep, who=who, why=why)
    if as_json:
        _print(found)
        return
    for model in found:
        click.echo(f"{model} {'would be' if dry_run else 'is'} deleted")
    if not found:
        click.echo("no model is old and unused enough")


@command.command(name="mirror")
@click.argument("uri")
@click.option("--experiment", default="weir", show_default=True, help="MLflow's experiment that the runs go to.")
@click.option("--json", "as_json", is_flag=True, help="Print what was added, and the aliases, as JSON.")
@click.pass_context
def mirror_models(context: click.Context, uri: str, *, experiment: str, as_json: bool) -> None:
    """Show the registry in MLflow: bundles as runs and registered versions, aliases as they are here (an extra).

    \b
    Examples:
      weir models mirror http://mlflow:5000
      weir models mirror sqlite:///mlflow.db
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.context import settings_of
    from service.mlflow_mirror import mirror
    from service.wiring import registry_of

    found = mirror(registry_of(settings_of(context).settings), uri, experiment=experiment)
    if as_json:
        _print_line(found._asdict())
        return
    for model in found.added:
        click.echo(f"{model} added")
    click.echo("aliases: " + (", ".join(f"{alias} {model}" for alias, model in found.aliases.items()) or "none"))


for _command in (gate, promote, rollback, shadow, canary, end, variants, add_member):
    command.add_command(_command)


def _row(entry: "Entry") -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "model": entry.reference,
        "aliases": entry.aliases,
        "registered_ms": entry.registered_ms,
        "trained_to_ms": manifest.window.to_ms,
        "spec": manifest.spec,
        "n_rows": manifest.window.n_rows,
        "n_frauds": manifest.window.n_frauds,
        "average_precision": manifest.metrics["ensemble"]["average_precision"],
    }


def _print(value: object) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def _print_line(value: object) -> None:
    import msgspec

    click.echo(msgspec.json.encode(value).decode())
