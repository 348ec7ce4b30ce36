"""The only place where adapters are chosen. Lazy: a container builds its world at the first request and keeps it.

Clients are made under a lock, because one boto3 session must not make two at once, and shared afterwards, because clients may be.
Nothing is read from AWS here; keys and secrets are fetched by whoever needs them first.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, Final, cast, get_args

from chalicelib.contracts.retention import DAYS_LIMIT, Keeping, Mode, Retention
from chalicelib.domain.agent_proof import Replays
from chalicelib.domain.log_batch import origin
from chalicelib.ports import Ports, Settings

#: A function that waits longer than this for AWS has lost its caller anyway (API Gateway: 29 s).
_TIMEOUTS: Final[dict[str, Any]] = {
    "connect_timeout": 3,
    "read_timeout": 10,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}
_POOL: Final = 32
#: What the template says where there is no second bucket: a policy's resource may not be empty.
_NO_BUCKET: Final = "-"
_OURS: Final = ("SALLYPORT_", "AWS_ENDPOINT_URL")

_LOCK: Final = threading.Lock()


class MisconfiguredError(RuntimeError):
    """An environment variable is missing or makes no sense."""


def settings(environment: dict[str, str]) -> Settings:
    """Read the deployment's settings. Raises MisconfiguredError."""
    return Settings(
        issuer=_needed(environment, "SALLYPORT_PUBLIC_URL").rstrip("/"),
        websocket_url=_needed(environment, "SALLYPORT_WS_URL"),
        admin_group=_needed(environment, "SALLYPORT_ADMIN_GROUP"),
        login_hours=_number(environment, "SALLYPORT_LOGIN_HOURS", 12, 1, 24),
        stale_s=_number(environment, "SALLYPORT_STALE_S", 90, 1, 3600),
        vote_login_s=_number(environment, "SALLYPORT_VOTE_LOGIN_MINUTES", 60, 1, 24 * 60) * 60,
        keeping=_keeping(environment),
    )


def ports() -> Ports:
    """Return this container's ports. A Lambda environment never changes; where it does, as in tests, they are built anew."""
    environment = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(_OURS)))
    with _LOCK:
        return _ports(environment)


@functools.cache
def replays() -> Replays:
    """Return this container's memory of agents' proofs."""
    return Replays()


@functools.lru_cache(maxsize=1)
def _ports(variables: tuple[tuple[str, str], ...]) -> Ports:
    # boto3 takes a third of a second to import; a refused WebSocket or a health check does not need it.
    import boto3
    from botocore.config import Config

    from chalicelib.adapters.apigateway import WebSocketDownlink
    from chalicelib.adapters.archive import S3Archive
    from chalicelib.adapters.channels import signing_secret
    from chalicelib.adapters.clock import SystemClock
    from chalicelib.adapters.dynamodb import DynamoStore
    from chalicelib.adapters.dynamodb.log import DynamoLog
    from chalicelib.adapters.kms import KmsNotary, KmsSigner
    from chalicelib.adapters.kms_vault import KmsVault
    from chalicelib.adapters.notifications import Channels
    from chalicelib.adapters.policies import CompiledPolicies
    from chalicelib.adapters.s3 import S3Blobs
    from chalicelib.adapters.secrets import SealedRoutes, Secrets
    from chalicelib.adapters.slack import SlackChat

    environment = dict(variables)
    session = boto3.session.Session()
    config = Config(max_pool_connections=_POOL, **_TIMEOUTS)
    secrets = Secrets(session.client("secretsmanager", config=config))
    dynamodb, table = session.client("dynamodb", config=config), _needed(environment, "SALLYPORT_TABLE")
    store = DynamoStore(dynamodb, table)
    s3 = session.client("s3", config=config.merge(Config(signature_version="s3v4")))
    bucket = _needed(environment, "SALLYPORT_BUCKET")
    kms = session.client("kms", config=config)
    known = settings(environment)
    callback = session.client(
        "apigatewaymanagementapi", endpoint_url=_needed(environment, "SALLYPORT_WS_CALLBACK"), config=config
    )
    policies = CompiledPolicies(store)
    text = functools.cache(functools.partial(_channels_text, environment, secrets))

    def link(rid: str) -> str:
        return f"{known.issuer}/approvals/{rid}"

    return Ports(
        settings=known,
        clock=SystemClock(),
        store=store,
        policies=policies,
        blobs=S3Blobs(s3, bucket),
        signer=KmsSigner(kms, _needed(environment, "SALLYPORT_SIGNING_KEY"), _needed(environment, "SALLYPORT_SSH_CA_KEY")),
        notary=KmsNotary(kms, _needed(environment, "SALLYPORT_LOG_KEY"), origin(bucket)),
        archive=S3Archive(s3, bucket),
        second=_second(environment, s3),
        log=DynamoLog(dynamodb, table),
        routes=SealedRoutes(secrets, _needed(environment, "SALLYPORT_ROUTE_SECRET")),
        downlink=WebSocketDownlink(callback),
        identity=_identity(environment, secrets),
        notifier=Channels(functools.partial(_channels, text, store, policies, session, link)),
        vault=KmsVault(kms, _needed(environment, "SALLYPORT_ORIGINALS_KEY")),
        chat=SlackChat(lambda: signing_secret(text()), link),
    )


def _channels_text(environment: dict[str, str], secrets: Any) -> str:
    name = environment.get("SALLYPORT_CHANNELS_SECRET", "")
    return str(secrets.text(name)) if name else "{}"


def _channels(text: Callable[[], str], store: Any, policies: Any, session: Any, link: Callable[[str], str]) -> Any:
    from botocore.config import Config

    from chalicelib.adapters.channels import World, configured, signing_secret
    from chalicelib.adapters.clock import SystemClock
    from chalicelib.domain import slack_signature

    secret = signing_secret(text()).encode()

    @functools.cache
    def client(service: str) -> Any:
        with _LOCK:
            return session.client(service, config=Config(**_TIMEOUTS))

    def address(principal: str) -> str:
        person = store.person(principal)
        return person.email if person else ""

    def button(rid: str, digest: str) -> str:
        # Without people who may press it, or a way to know that it was pressed, there is none.
        return slack_signature.button(secret, rid, digest) if secret and policies.current().document.slack else ""

    return configured(text(), World(clock=SystemClock(), link=link, address=address, client=client, button=button))


def _identity(environment: dict[str, str], secrets: Any) -> Any:
    from chalicelib.adapters.oidc import OidcProvider
    from chalicelib.domain.identity import Wanted

    wanted = Wanted(
        issuer=_needed(environment, "SALLYPORT_OIDC_ISSUER"),
        client_id=_needed(environment, "SALLYPORT_OIDC_CLIENT_ID"),
        principal_claim=environment.get("SALLYPORT_PRINCIPAL_CLAIM") or "email",
        groups_claim=environment.get("SALLYPORT_GROUPS_CLAIM") or "groups",
    )
    name = _needed(environment, "SALLYPORT_OIDC_CLIENT_SECRET_NAME")
    redirect = f"{_needed(environment, 'SALLYPORT_PUBLIC_URL').rstrip('/')}/login/callback"
    return OidcProvider(wanted, functools.cache(lambda: secrets.text(name)), redirect)


def _needed(environment: dict[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise MisconfiguredError(f"{name} is not set")
    return value


def _second(environment: dict[str, str], s3: Any) -> Any:
    from chalicelib.adapters.archive import S3Archive

    name = environment.get("SALLYPORT_WITNESS_BUCKET", "")
    return S3Archive(s3, name) if name not in ("", _NO_BUCKET) else None


def _keeping(environment: dict[str, str]) -> Keeping:
    least = _number(environment, "SALLYPORT_RETENTION_LEAST_DAYS", 1, 1, DAYS_LIMIT)
    most = _number(environment, "SALLYPORT_RETENTION_MOST_DAYS", 3_650, least, DAYS_LIMIT)
    mode = environment.get("SALLYPORT_RETENTION_MODE") or "COMPLIANCE"
    if mode not in get_args(Mode):
        raise MisconfiguredError("SALLYPORT_RETENTION_MODE must be COMPLIANCE or GOVERNANCE")
    days = _number(environment, "SALLYPORT_RETENTION_DAYS", min(max(365, least), most), least, most)
    return Keeping(default=Retention(days=days, mode=cast("Mode", mode)), least_days=least, most_days=most)


def _number(environment: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdigit() or not least <= int(text) <= most:
        raise MisconfiguredError(f"{name} must be a number from {least} to {most}")
    return int(text)
