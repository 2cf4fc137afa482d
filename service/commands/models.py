"""`weir models`: what the registry holds, and which model is champion."""

from typing import TYPE_CHECKING, Any

import click

from service.times import format_time

if TYPE_CHECKING:
    from models.registry import Entry


@click.group(name="models")
def command() -> None:
    """List, show and promote models.

    A model is named by an alias (champion, previous), by name@version, or by the beginning of its version.

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
    entries = registry_of(settings).entries()
    if as_json:
        _print([_row(entry) for entry in entries])
        return
    if not entries:
        click.echo(f"the registry {settings.model.registry} is empty; train a model: weir train HISTORY")
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
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@click.pass_context
def show(context: click.Context, reference: str, *, as_json: bool) -> None:
    """Verify a model's signature and files, and print its card (or manifest).

    \b
    Example:
      weir models show champion
    """  # noqa: D301 - click's mark for lines that stay as they are
    from models.bundle import CARD, verify_bundle
    from service.context import settings_of
    from service.wiring import registry_of, signing_key_of

    settings = settings_of(context).settings
    folder = registry_of(settings).resolve(reference)
    manifest, version, _ = verify_bundle(folder, signing_key_of(settings))
    if as_json:
        _print({"model": f"{manifest.name}@{version}", "manifest": manifest})
        return
    click.echo((folder / CARD).read_text("utf-8"))
    click.echo(f"{manifest.name}@{version}, feature spec {manifest.spec}; signature and files verified")


@command.command(name="promote")
@click.argument("reference")
@click.pass_context
def promote(context: click.Context, reference: str) -> None:
    """Make a model the champion; the champion so far becomes `previous`.

    \b
    Examples:
      weir models promote weir@1f2e3d4c5b6a
      weir models promote previous
    """  # noqa: D301 - click's mark for lines that stay as they are
    from features.spec import fingerprint
    from models.bundle import load_bundle
    from service.context import settings_of
    from service.wiring import registry_of, signing_key_of

    settings = settings_of(context).settings
    registry = registry_of(settings)
    load_bundle(registry.resolve(reference), signing_key_of(settings), fingerprint(settings.features.definition()))
    click.echo(f"{registry.promote(reference)} is the champion; running workers serve it after a restart")


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
