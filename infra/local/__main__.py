"""`python -m infra.local`: runs Sallyport's control plane in the embedded cloud until it is interrupted."""

import argparse
import importlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from infra.local.cloud import EmbeddedCloud, Ports


def main(arguments: list[str] | None = None) -> int:
    """Starts everything, says where it is, and stops cleanly on SIGINT and SIGTERM."""
    asked = _arguments(arguments)
    stopping = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopping.set())
    began = time.monotonic()
    ports = Ports(asked.http_port, asked.ws_port, asked.ws_callback_port, asked.idp_port, asked.aws_port, asked.s3_port)
    with EmbeddedCloud(load_app, ports=ports, schedule_speed=asked.schedule_speed) as cloud:
        ready_s = time.monotonic() - began
        if asked.state is not None:
            write_state(asked.state, cloud)
        try:
            print(describe(cloud, ready_s), flush=True)
            stopping.wait()
        finally:
            if asked.state is not None:
                asked.state.unlink(missing_ok=True)
    return 0


def load_app() -> Any:
    """The real application, imported late: it reads its environment at import."""
    return importlib.import_module("app").app


def write_state(path: Path, cloud: EmbeddedCloud) -> None:
    """Writes pid, addresses and environment as JSON, whole or not at all, readable by this user only."""
    state = {
        "pid": os.getpid(),
        "http_url": cloud.http_url,
        "ws_url": cloud.ws_url,
        "issuer": cloud.issuer,
        "s3_url": cloud.s3_url,
        "aws_url": cloud.aws_url,
        "environment": cloud.environment,
    }
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(state, indent=2) + "\n")
    fresh.replace(path)


def describe(cloud: EmbeddedCloud, ready_s: float) -> str:
    """What a person needs to know, a line each."""
    rows = [
        ("Open", cloud.http_url),
        ("Tunnels", cloud.ws_url),
        ("Sign-in", f"{cloud.issuer}  ({', '.join(cloud.idp.people)})"),
        ("S3", f"{cloud.s3_url}/{cloud.resources.bucket}"),
        ("AWS", cloud.aws_url),
    ]
    lines = [f"Sallyport's embedded cloud is ready after {ready_s:.1f} s. Ctrl-C stops it; nothing is kept."]
    return "\n".join(lines + [f"  {name:<8} {value}" for name, value in rows])


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m infra.local", description=__doc__)
    parser.add_argument("--state", type=Path, metavar="FILE", help="write addresses, pid and environment here as JSON")
    for name, what in (
        ("http", "the HTTP API and the web pages"),
        ("ws", "the WebSocket API"),
        ("ws-callback", "posting to connections"),
        ("idp", "the development identity provider"),
        ("aws", "DynamoDB, KMS and Secrets Manager"),
        ("s3", "S3"),
    ):
        parser.add_argument(f"--{name}-port", type=int, default=0, metavar="PORT", help=f"for {what} (default: any)")
    parser.add_argument(
        "--schedule-speed", type=float, default=1.0, metavar="FACTOR", help="how much faster schedules' time runs"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
