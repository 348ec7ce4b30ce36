"""HTTP framing: what the server reads off a stream, and what it refuses to read."""

import io
from http import HTTPStatus

import pytest

from infra.local.http_server import Request, RequestLineError, _read_body, _read_headers


def headers_of(raw: bytes, budget: int = 4096) -> list[tuple[str, str]]:
    return _read_headers(io.BufferedReader(io.BytesIO(raw)), budget)  # type: ignore[arg-type]


def body_of(raw: bytes, *headers: tuple[str, str]) -> bytes:
    return _read_body(io.BufferedReader(io.BytesIO(raw)), Request("PUT", "/", list(headers)))  # type: ignore[arg-type]


def test_names_are_lowered_and_repetition_is_kept() -> None:
    request = Request("GET", "/a%2Fb?x=%20", headers_of(b"Host: h\r\nX-A: 1\r\nx-a:  2 \r\n\r\n"))
    assert request.headers == [("host", "h"), ("x-a", "1"), ("x-a", "2")]
    assert request.header("x-a") == "1,2"
    assert request.header("absent") is None
    assert (request.path, request.query) == ("/a%2Fb", "x=%20")


@pytest.mark.parametrize("raw", [b"no colon\r\n\r\n", b"X : space\r\n\r\n", b" folded: 1\r\n\r\n", b"cut: off"])
def test_malformed_headers_are_refused(raw: bytes) -> None:
    with pytest.raises(RequestLineError):
        headers_of(raw)


def test_headers_without_end_are_refused() -> None:
    with pytest.raises(RequestLineError) as refused:
        headers_of(b"a: 1\r\n" * 1000)
    assert refused.value.status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


def test_bodies() -> None:
    assert body_of(b"", ("host", "h")) == b""
    assert body_of(b"abcdef", ("content-length", "3")) == b"abc"
    assert body_of(b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nx: y\r\n\r\n", ("transfer-encoding", "chunked")) == b"abcde"


@pytest.mark.parametrize(
    ("raw", "header"),
    [
        (b"ab", ("content-length", "3")),
        (b"ab", ("content-length", "-1")),
        (b"ab", ("content-length", "+2")),
        (b"ab", ("content-length", "2,2")),
        (b"ab", ("content-length", "99999999999")),
        (b"zz\r\nab\r\n", ("transfer-encoding", "chunked")),
        (b"-1\r\nab\r\n", ("transfer-encoding", "chunked")),
        (b"5\r\nab", ("transfer-encoding", "chunked")),
    ],
)
def test_bodies_that_are_not_what_they_say_are_refused(raw: bytes, header: tuple[str, str]) -> None:
    with pytest.raises(RequestLineError):
        body_of(raw, header)


def test_parameters_come_from_query_and_form() -> None:
    form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    assert Request("POST", "/?a=1&b=", [form], b"a=2&c=%20").parameters() == {"a": "2", "b": "", "c": " "}
    assert Request("POST", "/?a=1", [("content-type", "application/json")], b"a=2").parameters() == {"a": "1"}
