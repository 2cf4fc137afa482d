"""A server that speaks S3, on this machine and in this process: moto's, installed by `make stores` only."""

import os
from collections.abc import Callable, Iterable
from functools import cache
from threading import Thread
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

BUCKET = "weir"
requests: list[str] = []
"""Method and path of each request to this process's server, but for those that make the bucket."""


class _Silent(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        pass


@cache
def serve() -> str:
    """Return the server's address, where this process and those that it starts find it; it ends with the process."""
    # One request at a time: moto looks and then writes, so it is as exclusive as S3 only if nobody comes in between.
    server = make_server("127.0.0.1", 0, _noting(DomainDispatcherApplication(create_backend_app)), threaded=False, request_handler=_Silent)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    os.environ.update(AWS_ENDPOINT_URL=address, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    requests.clear()
    return address


def _noting(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def noting(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return application(environ, start)

    return noting
