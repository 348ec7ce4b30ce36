"""Every port twice: the fake that other tests trust, and the adapter on moto, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID

from chalicelib.adapters.archive import S3Archive
from chalicelib.adapters.dynamodb import DynamoStore
from chalicelib.adapters.dynamodb.log import DynamoLog
from chalicelib.adapters.kms import KmsNotary, KmsSigner
from chalicelib.adapters.kms_vault import KmsVault
from chalicelib.adapters.s3 import S3Blobs
from chalicelib.adapters.secrets import SealedRoutes, Secrets
from chalicelib.ports import Archive, Blobs, LogIndex, Notary, Routes, Signer, Store, Vault
from infra.local import moto_transactions, resources
from tests.fakes.dynamodb import FakeStore
from tests.fakes.kms import FakeSigner
from tests.fakes.log import ORIGIN, FakeArchive, FakeLogIndex, FakeNotary
from tests.fakes.s3 import FakeBlobs
from tests.fakes.secrets import FakeRoutes
from tests.fakes.vault import FakeVault

REGION = "us-east-1"


class OneAtATime:
    """A boto3 client whose calls are atomic, as they are on AWS. moto's tables take no locks."""

    def __init__(self, client: Any) -> None:
        self._client, self._lock = client, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found) or name == "get_paginator":
            return found

        def call(**arguments: Any) -> Any:
            with self._lock:
                return found(**arguments)

        return call


class Cloud:
    """The resources of one test module on moto; the table is empty for every test."""

    def __init__(self) -> None:
        moto_transactions.install()
        self.made = resources.create(self.client, "client secret", cors_origin="https://gw.example")

    def client(self, service: str) -> Any:
        config = Config(signature_version="s3v4") if service == "s3" else None
        return boto3.client(service, region_name=REGION, config=config)  # type: ignore[call-overload]

    def store(self) -> Store:
        return DynamoStore(OneAtATime(self.client("dynamodb")), self.made.table)  # type: ignore[arg-type]

    def signer(self) -> KmsSigner:
        return KmsSigner(self.client("kms"), self.made.signing_key, self.made.ssh_ca_key)

    def notary(self) -> KmsNotary:
        return KmsNotary(self.client("kms"), self.made.log_key, ORIGIN)

    def vault(self) -> KmsVault:
        return KmsVault(self.client("kms"), self.made.originals_key)

    def archive(self) -> S3Archive:
        return S3Archive(self.client("s3"), self.made.bucket)

    def log(self) -> DynamoLog:
        return DynamoLog(OneAtATime(self.client("dynamodb")), self.made.table)  # type: ignore[arg-type]

    def routes(self) -> SealedRoutes:
        return SealedRoutes(Secrets(self.client("secretsmanager")), self.made.route_secret)

    def empty(self) -> None:
        client = self.client("dynamodb")
        for item in client.scan(TableName=self.made.table)["Items"]:
            client.delete_item(TableName=self.made.table, Key={"pk": item["pk"], "sk": item["sk"]})
        # What is locked cannot be deleted through the API, not even here.
        get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"].buckets[self.made.bucket].keys.clear()
        self.client("secretsmanager").put_secret_value(SecretId=self.made.route_secret, SecretBinary=b"r" * 32)


@pytest.fixture(scope="module")
def moto_cloud() -> Iterator[Cloud]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        with mock_aws():
            yield Cloud()


@pytest.fixture
def cloud(moto_cloud: Cloud) -> Cloud:
    moto_cloud.empty()
    return moto_cloud


@pytest.fixture(params=["fake", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Store:
    return FakeStore() if request.param == "fake" else request.getfixturevalue("cloud").store()


@pytest.fixture(params=["fake", "kms"])
def signer(request: pytest.FixtureRequest) -> Signer:
    return FakeSigner() if request.param == "fake" else request.getfixturevalue("cloud").signer()


@pytest.fixture(params=["fake", "secrets"])
def routes(request: pytest.FixtureRequest) -> Routes:
    return FakeRoutes() if request.param == "fake" else request.getfixturevalue("cloud").routes()


@pytest.fixture(params=["fake", "s3"])
def blobs(request: pytest.FixtureRequest) -> Blobs:
    if request.param == "fake":
        return FakeBlobs()
    cloud: Cloud = request.getfixturevalue("cloud")
    return S3Blobs(cloud.client("s3"), cloud.made.bucket)


@pytest.fixture(params=["fake", "kms"])
def notary(request: pytest.FixtureRequest) -> Notary:
    return FakeNotary() if request.param == "fake" else request.getfixturevalue("cloud").notary()


@pytest.fixture(params=["fake", "kms"])
def vault(request: pytest.FixtureRequest) -> Vault:
    return FakeVault() if request.param == "fake" else request.getfixturevalue("cloud").vault()


@pytest.fixture(params=["fake", "s3"])
def archive(request: pytest.FixtureRequest) -> Archive:
    return FakeArchive() if request.param == "fake" else request.getfixturevalue("cloud").archive()


@pytest.fixture(params=["fake", "dynamodb"])
def log_and_store(request: pytest.FixtureRequest) -> tuple[LogIndex, Store]:
    if request.param == "fake":
        store = FakeStore()
        return FakeLogIndex(store), store
    cloud: Cloud = request.getfixturevalue("cloud")
    return cloud.log(), cloud.store()
