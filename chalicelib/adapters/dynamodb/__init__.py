"""The store on DynamoDB: one table, one room per kind of row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.adapters.dynamodb.agents import Agents
from chalicelib.adapters.dynamodb.configuration import Configuration
from chalicelib.adapters.dynamodb.connections import Connections
from chalicelib.adapters.dynamodb.evidence import Evidence
from chalicelib.adapters.dynamodb.originals import Originals
from chalicelib.adapters.dynamodb.outbox import Outbox
from chalicelib.adapters.dynamodb.people import People
from chalicelib.adapters.dynamodb.requests import Requests
from chalicelib.adapters.dynamodb.sessions import Sessions
from chalicelib.adapters.dynamodb.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoStore(People, Agents, Connections, Configuration, Sessions, Requests, Originals, Outbox, Evidence):
    """Implements ``ports.Store``."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        # Every room only keeps the table; Agents also keeps the names that it has read.
        Agents.__init__(self, Table(client, table))
