"""`weir config`: every setting in force."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from service.settings import Entry


@click.command(name="config")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Print every setting in force, where it comes from and what it means; secrets as ***.

    A value comes from the first of: environment (WEIR_<SECTION>_<NAME>), settings file, running embedded services, default.

    \b
    Examples:
      weir config
      WEIR_KAFKA_BOOTSTRAP=kafka:9092 weir config --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.context import settings_of

    entries = settings_of(context).entries()
    if as_json:
        import msgspec

        found = [{**entry._asdict(), "environment": _variable(entry.name)} for entry in entries]
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("setting", "value", "from", "meaning", box=None, pad_edge=False)
    for entry in entries:
        table.add_row(entry.name, str(entry.value), entry.source, entry.meaning)
    console = Console(highlight=False)
    console.print(table) if console.is_terminal else click.echo(_plain(entries))


def _variable(name: str) -> str:
    from service.settings import environment_name

    return environment_name(name)


def _plain(entries: "list[Entry]") -> str:
    width = max(len(name) for name, *_ in entries)
    return "\n".join(f"{name:<{width}} = {value}  ({source}: {meaning})" for name, value, source, meaning in entries)
