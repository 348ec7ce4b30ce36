"""Calls into moto: who may, one at a time, and how a request becomes a WSGI environment."""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.local.http_server import Request
from infra.local.moto_services import MotoServices
from tests.patience import HANG_S

SIGNED = "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


def request(service: str = "dynamodb", *headers: tuple[str, str], target: str = "/", body: bytes = b"") -> Request:
    return Request("POST", target, [("host", "127.0.0.1:9"), ("authorization", SIGNED.format(service)), *headers], body)


class Application:
    """Remembers its environments and whether two calls were ever inside together."""

    def __init__(self) -> None:
        self.environs: list[dict[str, Any]] = []
        self.inside = 0
        self.together = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.inside += 1
        for _ in range(5):
            self.together = max(self.together, self.inside)
            time.sleep(0.001)
        self.environs.append(environ)
        self.inside -= 1
        start_response("201 Created", [("x-answer", "yes")])
        return [b"an", b"swer"]


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def services(application: Application) -> MotoServices:
    return MotoServices(application)


def test_an_answer_comes_back_whole(services: MotoServices) -> None:
    answer = services.respond(request())
    assert (answer.status, answer.headers, answer.body) == (201, [("x-answer", "yes")], b"answer")


def test_calls_do_not_overlap(services: MotoServices, application: Application) -> None:
    start = threading.Barrier(4)

    def call(_: int) -> None:
        start.wait(HANG_S)
        services.respond(request())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(4)))
    assert len(application.environs) == 4
    assert application.together == 1


def test_s3_and_unsigned_calls_do_not_get_in(services: MotoServices, application: Application) -> None:
    assert services.respond(request("s3")).status == 403
    assert services.respond(Request("GET", "/bucket/key", [("host", "h")])).status == 403
    assert services.respond(Request("GET", "/", [("host", "h"), ("authorization", "Credential=a/b")])).status == 403
    assert application.environs == []


def test_writes_to_a_table_are_announced_and_reads_are_not(services: MotoServices) -> None:
    announced: list[str] = []
    services.on_table_write = lambda: announced.append("written")
    services.respond(request("dynamodb", ("x-amz-target", "DynamoDB_20120810.GetItem")))
    services.respond(request("kms", ("x-amz-target", "TrentService.Sign")))
    assert announced == []
    for operation in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"):
        services.respond(request("dynamodb", ("x-amz-target", f"DynamoDB_20120810.{operation}")))
    assert len(announced) == 5


def test_the_environment_keeps_what_was_sent(services: MotoServices, application: Application) -> None:
    headers = [("content-type", "text/plain"), ("x-a", "1"), ("x-a", "2"), ("x_a", "3"), ("content-length", "9")]
    services.respond(request("kms", *headers, target="/b/k%2F%C3%A9?x=%20", body=b"body"))
    environ = application.environs[0]
    assert environ["PATH_INFO"] == "/b/k/é".encode().decode("latin-1")
    assert environ["RAW_URI"] == "/b/k%2F%C3%A9?x=%20"
    assert environ["QUERY_STRING"] == "x=%20"
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/plain", "4")
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["wsgi.input"].read() == b"body"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", "9")
