"""The embedded cloud: one object that starts everything Sallyport runs on, in one process, in about a second.

Addresses are taken first, resources are made, the environment is set, and only then is the application imported: like a
Lambda function it may read its environment once, at import.
"""

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from botocore.config import Config
from botocore.session import Session

from infra.local import resources
from infra.local.bucket_policy import BucketPolicy
from infra.local.chaos import CALM, Chaos
from infra.local.functions import resolve
from infra.local.gateway_ws import WebSocketGateway
from infra.local.http_server import HttpServer
from infra.local.idp import IdentityProvider
from infra.local.moto_services import MotoServices, fresh_moto
from infra.local.pump import EventPump
from infra.local.s3_shim import S3Shim
from infra.local.sigv4 import KeyPair
from infra.local.ws_connection import AWS_LIMITS, Functions, Limits

log = logging.getLogger(__name__)

#: What can be away by itself: the API with its WebSockets, and the bucket.
Part = Literal["api", "s3"]

REGION = "us-east-1"
ADMIN_GROUP = "platform"
# moto's backends and the process environment exist once per process, so the embedded cloud does too.
_ONLY_ONE = threading.Lock()
# A developer's own profile must not reach the application: with it, a mistake would reach a real account.
_AWS_SETTINGS = {
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
_FOREIGN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports on 127.0.0.1; 0 takes any free one."""

    http: int = 0
    ws: int = 0
    ws_callback: int = 0
    idp: int = 0
    aws: int = 0
    s3: int = 0


ANY_PORTS = Ports()


class EmbeddedCloud:
    """Runs `load()`'s Chalice application; a context manager, or `start` and `stop`.

    `load` is called after the environment is set and may import the application; a ready application object is taken
    as well. `schedule_speed` makes schedules' time run faster; with `background` off, nothing runs by itself and tests
    drive `pump`. Raises RuntimeError when another embedded cloud runs in this process.
    """

    def __init__(
        self,
        load: Any,
        *,
        ports: Ports = ANY_PORTS,
        limits: Limits = AWS_LIMITS,
        chaos: Chaos = CALM,
        schedule_speed: float = 1.0,
        background: bool = True,
    ) -> None:
        self._load, self._ports, self._limits, self._chaos = load, ports, limits, chaos
        self._speed, self._background = schedule_speed, background
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()
        self._undo = contextlib.ExitStack()
        self.app: Any = None
        self.environment: dict[str, str] = {}
        self.resources: resources.Resources
        self.gateway: WebSocketGateway
        self.idp: IdentityProvider
        self.pump: EventPump
        self.shim: S3Shim

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> Self:
        """Returns when everything answers. Stops what it started when it cannot."""
        if not _ONLY_ONE.acquire(blocking=False):
            raise RuntimeError("an embedded cloud already runs in this process")
        self._undo.callback(_ONLY_ONE.release)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stops in the reverse order of starting and puts the environment back. Does nothing the second time."""
        self._undo.close()

    @property
    def http_url(self) -> str:
        """Where the application's REST routes are, at the root."""
        return self._http.url

    @property
    def ws_url(self) -> str:
        return self.gateway.url

    @property
    def issuer(self) -> str:
        return self.idp.issuer

    @property
    def s3_url(self) -> str:
        """S3 behind the shim: requests must be signed."""
        return self._s3.url

    @property
    def aws_url(self) -> str:
        """DynamoDB, KMS and Secrets Manager."""
        return self._aws.url

    @contextlib.contextmanager
    def outage(self, *parts: Part, mute: bool = False) -> Iterator[None]:
        """While entered, ``parts`` are away: open sockets end, requests get no answer.

        With ``mute`` HTTP requests are carried out all the same, and only their answers are lost.
        """
        servers = [{"api": self._http, "s3": self._s3}[part] for part in parts]
        self.gateway.away = "api" in parts
        for server in servers:
            server.weather = "mute" if mute else "away"
        if self.gateway.away:
            self.gateway.kill()
        try:
            yield
        finally:
            self.gateway.away = False
            for server in servers:
                server.weather = "fair"

    def boto(self, service: str) -> Any:
        """A boto3 client of this cloud, made once per service."""
        with self._making:  # clients may be shared by threads, but not made by several at once
            if service not in self._clients:
                endpoints = {"s3": self.s3_url, "apigatewaymanagementapi": self.gateway.callback_url}
                self._clients[service] = self._session.create_client(
                    service,
                    region_name=REGION,
                    endpoint_url=endpoints.get(service, self.aws_url),
                    aws_access_key_id=self._keys.access_key,
                    aws_secret_access_key=self._keys.secret_key,
                    config=Config(signature_version="s3v4") if service == "s3" else None,
                )
            return self._clients[service]

    # -- the order of things ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._keys = KeyPair(f"EMBEDDED{secrets.token_hex(6).upper()}", secrets.token_urlsafe(30), REGION)
        self._claim_addresses()
        self._undo.enter_context(_environment(_AWS_SETTINGS, without=_FOREIGN))
        self._session = Session()
        moto = MotoServices(fresh_moto())
        self._aws.start(moto.respond)
        self.shim = S3Shim(self._keys, moto.forward)
        self._s3.start(self.shim.respond)
        self.resources = resources.create(self.boto, self.idp.client_secret, cors_origin=self.http_url)
        self.pump = EventPump(self.boto, self.resources.table, self.resources.stream_arn, speed=self._speed)
        moto.on_table_write = self.pump.wake
        self.shim.policy = BucketPolicy(self.resources.bucket)
        self.shim.on_change = self.pump.object_changed
        self.environment = self._describe()
        self._undo.enter_context(_environment(self.environment))
        self.app = self._load if hasattr(self._load, "websocket_handlers") else self._load()
        self._open_doors()

    def _claim_addresses(self) -> None:
        ports = self._ports
        self._aws = self._server("aws", ports.aws)
        self._s3 = self._server("s3-shim", ports.s3)
        self._http = self._server("http-api", ports.http)
        self.idp = IdentityProvider(ports.idp)
        self._undo.callback(self.idp.stop)
        self.gateway = WebSocketGateway(
            self._keys,
            port=ports.ws,
            callback_port=ports.ws_callback,
            limits=self._limits,
            chaos=self._chaos,
        )
        self._undo.callback(self.gateway.stop)

    def _server(self, name: str, port: int) -> HttpServer:
        server = HttpServer(name, port)
        self._undo.callback(server.stop)
        return server

    def _open_doors(self) -> None:
        from infra.local.http_api import HttpApi

        # Stopping twice is harmless: these end before the environment is put back, and the claims above end last.
        self.idp.start(f"{self.http_url}/login/callback")
        self._http.start(HttpApi(self.app).respond)
        self._undo.callback(self._http.stop)
        self._undo.callback(self.gateway.stop)
        self.gateway.start(_websocket_functions(self.app))
        self.pump.attach(self.app)
        self._undo.callback(self.pump.stop)
        if self._background:
            self.pump.start()

    def _describe(self) -> dict[str, str]:
        """The environment that a stage's configuration gives the functions on AWS."""
        made = self.resources
        return {
            "SALLYPORT_TABLE": made.table,
            "SALLYPORT_TABLE_STREAM": made.stream_arn,
            "SALLYPORT_BUCKET": made.bucket,
            "SALLYPORT_SIGNING_KEY": made.signing_key,
            "SALLYPORT_SSH_CA_KEY": made.ssh_ca_key,
            "SALLYPORT_LOG_KEY": made.log_key,
            "SALLYPORT_ORIGINALS_KEY": made.originals_key,
            "SALLYPORT_ROUTE_SECRET": made.route_secret,
            "SALLYPORT_OIDC_ISSUER": self.idp.issuer,
            "SALLYPORT_OIDC_CLIENT_ID": self.idp.client_id,
            "SALLYPORT_OIDC_CLIENT_SECRET_NAME": made.oidc_client_secret_name,
            "SALLYPORT_PUBLIC_URL": self.http_url,
            "SALLYPORT_WS_URL": self.ws_url,
            "SALLYPORT_WS_CALLBACK": self.gateway.callback_url,
            "SALLYPORT_ADMIN_GROUP": ADMIN_GROUP,
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_ENDPOINT_URL_S3": self.s3_url,
            "AWS_ACCESS_KEY_ID": self._keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self._keys.secret_key,
            **_AWS_SETTINGS,
        }


def _websocket_functions(app: Any) -> Functions:
    handlers = app.websocket_handlers
    missing = {"$connect", "$default", "$disconnect"} - handlers.keys()
    if missing:
        raise ValueError(f"the application has no WebSocket function for {', '.join(sorted(missing))}")
    return Functions(*(resolve(app, handlers[route]) for route in ("$connect", "$default", "$disconnect")))


@contextlib.contextmanager
def _environment(values: dict[str, str], without: tuple[str, ...] = ()) -> Iterator[None]:
    """Sets variables of this process and puts the former ones back."""
    before = {name: os.environ.get(name) for name in (*values, *without)}
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
