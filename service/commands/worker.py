"""`weir worker`: score the stream."""

import sys

import click


@click.command(name="worker")
@click.pass_context
def command(context: click.Context) -> None:
    """Score transactions from Kafka until SIGTERM or Ctrl-C; then drain and leave within 10 s.

    Run one process for each core, at most as many as the topic has partitions, under something that starts it again:
    it ends by itself when going on could lose or repeat work (exit codes 1, 70 and 75).

    \b
    Example:
      weir worker
      WEIR_KAFKA_BOOTSTRAP=kafka:9092 WEIR_REDIS_URL=redis://redis:6379/0 weir worker
    """  # noqa: D301 - click's mark for lines that stay as they are
    from monitoring.metrics import Metrics
    from service import logs
    from service.clients import kafka_of
    from service.context import settings_of
    from service.lineup_loading import open_lineup
    from service.serving import pipelines_of
    from service.warm import warm_up
    from service.wiring import rates_of, redis_client, worker_settings
    from stream.worker import run

    settings = settings_of(context).settings
    kafka_of(context)
    redis_client(settings)
    logs.configure()
    rates = rates_of(settings)
    models = open_lineup(settings)
    for scorer in (models.loaded.lineup.champion, models.loaded.lineup.challenger):
        if scorer is not None:
            warm_up(settings, rates, scorer)
    metrics = Metrics()
    sys.exit(run(worker_settings(settings), pipelines_of(settings, models, rates, metrics), metrics))
