"""What a failure looks like from outside."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, ParamValidationError, ReadTimeoutError

from chalicelib.contracts.faults import Fault
from chalicelib.entrypoints.faults import refusal


def failed(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "secret detail"}}, "PutItem")


@pytest.mark.parametrize(
    "error",
    [
        failed("ProvisionedThroughputExceededException"),
        failed("ThrottlingException"),
        failed("SlowDown"),
        failed("InternalServerError"),
        ReadTimeoutError(endpoint_url="https://secret.detail"),
        ConnectTimeoutError(endpoint_url="https://secret.detail"),
        EndpointConnectionError(endpoint_url="https://secret.detail"),
    ],
    ids=["capacity", "throttled", "slow down", "their error", "no answer", "no connection", "nobody there"],
)
def test_a_busy_store_is_to_be_asked_again(error: Exception) -> None:
    refused = refusal(error, "POST /sessions", "r-1")
    assert refused.status == 503
    assert refused.failure.error.code == "control_plane_unreachable"
    assert "r-1" in refused.failure.error.hint
    assert "secret" not in refused.body


@pytest.mark.parametrize(
    "error",
    [
        failed("AccessDeniedException"),
        failed("ValidationException"),
        failed(""),
        ParamValidationError(report="secret"),
        ValueError("secret"),
    ],
    ids=["denied", "wrong", "nameless", "parameters", "bug"],
)
def test_what_asking_again_does_not_mend_is_ours(error: Exception) -> None:
    refused = refusal(error, "POST /sessions", "r-1")
    assert (refused.status, refused.failure.error.code) == (500, "internal")
    assert "r-1" in refused.failure.error.message
    assert "secret" not in refused.body


def test_a_fault_is_told_as_it_is() -> None:
    refused = refusal(Fault("denied", "No.", detail="secret"), "POST /sessions", "r-1")
    assert (refused.status, refused.failure.error.message) == (403, "No.")
    assert "secret" not in refused.body


def test_a_store_that_nobody_listens_at() -> None:
    quick = Config(connect_timeout=1, retries={"max_attempts": 0})
    client = boto3.client(
        "dynamodb",
        endpoint_url="http://127.0.0.1:1",
        region_name="eu-west-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=quick,
    )
    with pytest.raises(EndpointConnectionError) as away:
        client.list_tables()
    assert refusal(away.value, "GET /sessions", "r-1").failure.error.code == "control_plane_unreachable"
