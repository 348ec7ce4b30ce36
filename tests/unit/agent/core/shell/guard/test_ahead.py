"""What had been typed ahead, and what a shell only says was."""

import pytest

from agent.core.shell.guard.ahead import ahead


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"ls\r", b""),
        (b"", b""),
        (b"ls\rpwd\r", b"pwd\r"),
        (b"ls\rpwd\r", b"pwd\n"),
        (b"ls\rpwd\rid", b"id"),
        (b"for i in 1\rdo :\rdone\rpwd\r", b"pwd\r"),
        (b"sleep 5\x0fpwd\r", b"pwd\n"),
        (b"ls\rpwx\x7fd\r", b"pwd\n"),
        (b"ls\rpw\xc3\xa4\x7fd\r", b"pwd\n"),
        (b"ls\rrm all\x15pwd\r", b"pwd\n"),
        (b"ls\recho one  two \x17three\r", b"echo one  three\n"),
        (b"ls\rpw\x13\x11d\r", b"pwd\n"),
        (b"ls\rone\r\x7ftwo\r", b"one\ntwo\n"),
    ],
)
def test_it_was(sent: bytes, keys: bytes) -> None:
    assert ahead(sent, keys)


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"", b"rm -rf ~\r"),
        (b"ls\r", b"ls\r"),
        (b"ls", b"ls"),
        (b"ls\rpwd\r", b"ls\rpwd\r"),
        (b"ls\rpwd\r", b"rm\rpwd\r"),
        (b"ls\rpwd\r", b"pw"),
        (b"ls\rrm -r a b\r", b"rm -r b\r"),
        (b"ls\rpwd\r", b"pwd\rid\r"),
    ],
)
def test_it_was_not(sent: bytes, keys: bytes) -> None:
    assert not ahead(sent, keys)
