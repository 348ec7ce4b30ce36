"""Which block a text had begun by the statement that was refused."""

from __future__ import annotations

import pytest

from agent.core.sql import Session, analyse
from agent.core.sql.catalogue import Catalogue
from agent.protocols.postgres.blocks import in_block
from agent.protocols.postgres.classify import Classifier


@pytest.mark.parametrize(
    ("text", "refused", "begun"),
    [
        ("SELECT 1", 0, False),
        ("BEGIN; SELECT 1", 1, True),
        ("BEGIN; SELECT 1", 0, False),
        ("SELECT 1; BEGIN; SELECT 2", 0, False),
        ("START TRANSACTION READ ONLY; SELECT 1; SELECT 2", 2, True),
        ("BEGIN; COMMIT; SELECT 1", 2, False),
        ("BEGIN; END; BEGIN; SELECT 1", 3, True),
        ("BEGIN; COMMIT AND CHAIN; SELECT 1", 2, True),
        ("BEGIN; COMMIT AND NO CHAIN; SELECT 1", 2, False),
        ("BEGIN; SAVEPOINT s; ROLLBACK TO s; SELECT 1", 3, True),
        ("BEGIN; SAVEPOINT s; RELEASE s; SELECT 1", 3, True),
        ("BEGIN; ABORT; SELECT 1", 2, False),
        ("BEGIN; PREPARE TRANSACTION 'x'; SELECT 1", 2, False),
        ("COMMIT PREPARED 'x'; SELECT 1", 1, False),
        # A COPY through the connection is two operations.
        ("COPY t TO STDOUT; BEGIN; SELECT 1", 2, False),
        ("COPY t TO STDOUT; BEGIN; SELECT 1", 3, True),
        ("BEGIN; COPY t TO STDOUT", 2, True),
    ],
)
def test_a_block_is_what_the_text_has_begun(text: str, refused: int, begun: bool) -> None:
    reading = Classifier(lambda *asked: analyse(asked[0], asked[1], session=asked[2]), Catalogue()).read(text.encode(), Session())
    assert in_block(reading.statements, refused) is begun
