"""`weir status`: what runs of the embedded Kafka and Redis, and which workers."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from monitoring.fleet import WorkerState
    from service.settings import Settings


@click.command(name="status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Show what runs of the embedded Kafka and Redis, and the workers; exit code 1 if a service is missing.

    A service whose address is set in the settings is shown with it and not judged; see `weir doctor`.

    \b
    Example:
      weir status
      weir status --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    from pathlib import Path

    from service import fleet_status
    from service.context import settings_of
    from service.embedded import answers, is_embedded, running
    from service.settings import without_password

    loaded = settings_of(context)
    settings = loaded.settings
    found = running(Path(settings.embedded.directory))
    kafka_answers, redis_answers = answers(settings.embedded) if found else (False, False)
    kafka = _service(
        is_embedded=is_embedded(loaded, "kafka"),
        address=settings.kafka.bootstrap,
        pid=found.kafka_pid if found else None,
        is_answering=kafka_answers,
    )
    redis = _service(
        is_embedded=is_embedded(loaded, "redis"),
        address=without_password(settings.redis.url),
        pid=found.redis_pid if found else None,
        is_answering=redis_answers,
    )
    owner_pid = found.owner_pid if found else None
    is_complete = all(service["state"] in ("running", "external") for service in (kafka, redis))
    workers = _workers(settings) if redis["state"] in ("running", "external") else None
    if as_json:
        told = None if workers is None else [fleet_status.as_json(worker) for worker in workers]
        click.echo(json.dumps({"kafka": kafka, "redis": redis, "owner_pid": owner_pid, "is_complete": is_complete, "workers": told}))
    else:
        for name, service in (("kafka", kafka), ("redis", redis)):
            click.echo(f"{name}  {_words(service)}")
        for line in _worker_lines(workers):
            click.echo(f"worker  {line}")
        if owner_pid:
            click.echo(f"they end with process {owner_pid}")
        if not is_complete:
            click.echo("start what is missing: weir up")
    if not is_complete:
        sys.exit(1)


def _workers(settings: "Settings") -> "list[WorkerState] | None":
    """Return the workers of the last minute; None: Redis does not answer."""
    from domain.errors import Unavailable
    from service import fleet_status

    try:
        return fleet_status.workers(settings)
    except Unavailable:
        return None


def _worker_lines(workers: "list[WorkerState] | None") -> list[str]:
    from service import fleet_status

    if workers is None:
        return ["not known: Redis does not answer"]
    return [fleet_status.words(worker) for worker in workers] or ["none; start one: weir worker"]


def _service(*, is_embedded: bool, address: str, pid: int | None, is_answering: bool) -> dict[str, Any]:
    if not is_embedded:
        return {"state": "external", "address": address, "pid": None}
    if pid is None:
        return {"state": "not running", "address": None, "pid": None}
    return {"state": "running" if is_answering else "not answering", "address": address, "pid": pid}


def _words(service: dict[str, Any]) -> str:
    if service["state"] == "external":
        return f"{service['address']}  from the settings, not embedded"
    return service["state"] if service["pid"] is None else f"{service['state']}  {service['address']}  process {service['pid']}"
