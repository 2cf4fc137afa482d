"""`weir topics`: make or verify the topics of the contract."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stream.topics import Topic


@click.group(name="topics")
def command() -> None:
    """Make the topics, or check that they are as they must be.

    \b
    Examples:
      weir topics create --replication 3 --partitions 12
      weir topics check
    """  # noqa: D301 - click's mark for lines that stay as they are


@command.command()
@click.option("--replication", type=click.IntRange(min=1), help="Replicas of each partition; else the broker's default.")
@click.option("--partitions", type=click.IntRange(min=1), help="Partitions of new topics that scale (not of dead letters and control).")
@click.pass_context
def create(context: click.Context, *, replication: int | None, partitions: int | None) -> None:
    """Make the topics that are missing and correct the settings of the others; safe to repeat.

    \b
    Example:
      weir topics create --replication 3 --partitions 12
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.clients import kafka_of
    from stream import topic_admin

    connection, _ = kafka_of(context)
    replicas = -1 if replication is None else replication
    for line in topic_admin.create(connection, _topics(partitions), replication_factor=replicas):
        click.echo(line)
    click.echo("all topics are there")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print what is wrong as JSON.")
@click.pass_context
def check(context: click.Context, *, as_json: bool) -> None:
    """Say what is not as it must be; exit code 1 if something is not.

    \b
    Example:
      weir topics check --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    from service.clients import kafka_of
    from stream import topic_admin

    connection, _ = kafka_of(context)
    findings = topic_admin.check(connection)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode([finding._asdict() for finding in findings]).decode())
    else:
        for finding in findings:
            click.echo(f"{finding.topic}: {finding.detail}")
        click.echo("run: weir topics create" if findings else "all topics are as they must be")
    if findings:
        context.exit(1)


def _topics(partitions: int | None) -> "Sequence[Topic]":
    import msgspec

    from stream.topics import TOPICS

    if partitions is None:
        return TOPICS
    return [msgspec.structs.replace(topic, partitions=partitions) if topic.partitions > 1 else topic for topic in TOPICS]
