"""`weir down`: stop the embedded Kafka and Redis."""

import click


@click.command(name="down")
@click.option("--purge", "is_purged", is_flag=True, help="Also remove their data, logs and state.")
@click.pass_context
def command(context: click.Context, *, is_purged: bool) -> None:
    """Stop the embedded Kafka and Redis that `weir up` started; their data stay for the next `weir up`.

    \b
    Example:
      weir down
      weir down --purge
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.context import settings_of
    from service.embedded import purge, stop
    from service.embedded_report import step_report

    embedded = settings_of(context).settings.embedded
    with step_report() as report:
        found = stop(embedded, report=report)
        left = purge(embedded, report=report) if is_purged else []
    names = [name for name, pid in (("kafka", found.kafka_pid), ("redis", found.redis_pid)) if pid] if found else []
    click.echo(f"stopped: {', '.join(names)}" if names else "nothing was running")
    if is_purged:
        click.echo(f"removed data, logs and state of the services in {embedded.directory}")
    for path in left:
        click.echo(f"left, as it is not theirs: {path}")
