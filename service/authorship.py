"""Who changes the registry, and why: the options of every command that does, and the user of the operating system."""

import os
import pwd
from collections.abc import Callable
from typing import Any

import click


def os_user() -> str:
    """Return the name of the user that this process runs as; its number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def authored(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options `--who` and `--why`; both go into the registry's history."""
    command = click.option("--why", default="", help="Why, for the history.")(command)
    return click.option("--who", default=os_user, show_default="you", help="Who does it, for the history.")(command)
