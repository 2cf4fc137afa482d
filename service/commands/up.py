"""`weir up`: start the embedded Kafka and Redis in the background."""

import json

import click


@click.command(name="up")
@click.option("--json", "as_json", is_flag=True, help="Print addresses and process numbers as one JSON object.")
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Start the embedded Kafka and Redis in the background.

    They run until `weir down`; other commands find them by themselves. A service whose address is set (kafka.bootstrap,
    redis.url) is yours and is not started. Calling it again does no harm: what is missing is started.

    \b
    Example:
      weir up
      weir up --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    from pathlib import Path

    from service.context import settings_of
    from service.embedded import is_embedded, running, start
    from service.embedded_report import step_report

    loaded = settings_of(context)
    embedded, wants_kafka, wants_redis = loaded.settings.embedded, is_embedded(loaded, "kafka"), is_embedded(loaded, "redis")
    if not wants_kafka and not wants_redis:
        _print_nothing(as_json=as_json)
        return
    before = running(Path(embedded.directory))
    with step_report() as report:
        found = start(embedded, kafka=wants_kafka, redis=wants_redis, report=report)
    if as_json:
        click.echo(json.dumps({**found._asdict(), "started": found != before}))
        return
    ends_with = f" (ends with process {found.owner_pid})" if found.owner_pid else ""
    click.echo(f"{'already running' if found == before else 'running'}{ends_with}:")
    if found.bootstrap:
        click.echo(f"  kafka  {found.bootstrap}  process {found.kafka_pid}")
    if found.redis_url:
        click.echo(f"  redis  {found.redis_url}  process {found.redis_pid}")


def _print_nothing(*, as_json: bool) -> None:
    if as_json:
        nothing = dict.fromkeys(("bootstrap", "redis_url", "kafka_pid", "redis_pid", "owner_pid"))
        click.echo(json.dumps({**nothing, "started": False}))
    else:
        click.echo("nothing to start: kafka.bootstrap and redis.url are set, so nothing is embedded")
