"""`weir web`: the dashboard."""

import asyncio
from pathlib import Path

import click


@click.command(name="web")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 = a free one; default: web.port.")
@click.option(
    "--baseline",
    type=click.Path(exists=True, path_type=Path),
    metavar="HISTORY",
    help="First measure the noise limits of the champion on this history (28 days beside those it was trained on).",
)
@click.option("--json", "as_json", is_flag=True, help='Print {"url": ...} once it answers.')
@click.pass_context
def command(context: click.Context, *, port: int | None, baseline: Path | None, as_json: bool) -> None:
    """Show the dashboard: is it well, what has changed, how good the answers are, which model serves, one transaction.

    It also judges drift for the whole fleet and raises the alarms: let one run beside the workers. Listens on loopback
    only. What it shows is also JSON: /api/v1 (docs/openapi.json). Drift is judged against noise limits that 28 served
    days set, or a history. Ctrl-C ends it.

    \b
    Examples:
      weir web
      weir web --port 0 --json
      weir web --baseline var/history.parquet
    """  # noqa: D301 - click's mark for lines that stay as they are
    import json
    import sys

    import msgspec

    from service import logs
    from service.context import config_of, settings_of
    from service.interrupts import run_until_interrupted
    from service.web.guard import require_loopback
    from service.web.server import leave_in_time, serve

    settings = settings_of(context).settings
    if port is not None:
        settings = msgspec.structs.replace(settings, web=msgspec.structs.replace(settings.web, port=port))
    require_loopback(settings.web.bind)
    if baseline is not None:
        from service.progress import progress_bar
        from service.web.baseline import measure_baseline
        from service.web.evaluation import keep_effects
        from service.wiring import registry_of

        with progress_bar("replaying the baseline") as progress:
            effects = measure_baseline(settings, baseline, progress)
        keep_effects(Path(settings.monitoring.directory), registry_of(settings).reference("champion"), effects)
        click.echo(f"the noise limits rest on {effects.n_days} days of {baseline}", err=True)
    logs.configure(sys.stderr)

    async def work(stop: asyncio.Event) -> None:
        leaving = asyncio.create_task(leave_in_time(stop))
        await serve(settings, stop, config=config_of(context), on_ready=say)
        leaving.cancel()

    def say(url: str) -> None:
        click.echo(json.dumps({"url": url}) if as_json else f"the dashboard: {url} (Ctrl-C ends it)")
        sys.stdout.flush()

    run_until_interrupted(work)
