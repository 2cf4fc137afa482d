"""What every command starts from: the settings in force."""

from pathlib import Path

import click

from service.settings import Loaded


def settings_of(context: click.Context) -> Loaded:
    """Return the settings in force, the running embedded services' addresses filled in.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """
    from service.embedded import running
    from service.settings import load, with_addresses

    loaded = load(config_of(context))
    found = running(Path(loaded.settings.embedded.directory))
    if found is None:
        return loaded
    return with_addresses(loaded, bootstrap=found.bootstrap, redis_url=found.redis_url)


def config_of(context: click.Context) -> Path | None:
    """Return the settings file that the command line names, None if it names none."""
    chosen = (context.find_root().obj or {}).get("config")
    return Path(chosen) if chosen else None
