"""The command line: `weir COMMAND`. Each command lives in `service/commands/<name>.py` and is loaded when called."""

import os
import sys
from importlib import import_module
from pathlib import Path

import click

from domain.errors import WeirError
from service.standard_streams import write_whole

COMMANDS = Path(__file__).parent / "commands"


class _Commands(click.Group):
    """Commands by file name, imported only when needed, so that `weir --help` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        return sorted(path.stem for path in COMMANDS.glob("*.py") if path.stem != "__init__")

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"service.commands.{cmd_name}").command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--config", metavar="FILE", help="Settings file (TOML); else WEIR_CONFIG, else ./weir.toml.")
@click.version_option(package_name="weir")
@click.pass_context
def weir(context: click.Context, config: str | None) -> None:
    """Score card transactions from Kafka for fraud, in real time."""
    context.obj = {"config": config}


def main() -> None:
    """Run the command line; exit code 0, 1 (a check failed), 2 (could not start), 130 (interrupted) or 141 (the reader has gone)."""
    write_whole()
    try:
        code = weir(standalone_mode=False)  # click returns the code of `context.exit(code)` here, it does not raise
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except WeirError as error:
        click.echo(f"weir: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `weir tail ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
