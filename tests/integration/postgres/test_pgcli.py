"""pgcli at a terminal, as a person uses it: its completions, its describing commands, and what it makes of a denial."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.integration.postgres.conftest import ADVISED, FORBID_DROP, Gateway
from tests.integration.postgres.server import Postgres
from tests.patience import HANG_S, until

pytestmark = pytest.mark.servers

RC = """
[main]
smart_completion = True
multi_line = True
enable_pager = False
less_chatty = True
destructive_warning = off
keyring = False
prompt = 'ask> '
"""


class Terminal:
    """A person's terminal with pgcli in it."""

    def __init__(self, spawned: pexpect.spawn) -> None:
        self._spawned = spawned

    def type(self, keys: str) -> None:
        self._spawned.send(keys)

    def shows(self, pattern: str, *, within_s: float = HANG_S) -> str:
        """Wait until the terminal shows ``pattern``. Returns what it has shown up to there."""
        self._spawned.expect(pattern, timeout=within_s)
        return str(self._spawned.before) + str(self._spawned.after)

    def answer(self, text: str, pattern: str) -> str:
        """Type a line and wait for its answer."""
        self.type(text + "\r")
        return self.shows(pattern)


@contextmanager
def pgcli(gateway: Gateway, folder: Path) -> Iterator[Terminal]:
    """pgcli, which has asked for its first line."""
    (folder / "rc").write_text(RC)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    command = [str(Path(sys.executable).with_name("pgcli")), "-w", "--pgclirc", str(folder / "rc"), gateway.dsn]
    spawned = pexpect.spawn(
        command[0], command[1:],
        env={**kept, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        encoding="utf-8", codec_errors="replace", dimensions=(50, 160),
    )  # fmt: skip
    try:
        spawned.expect("ask>", timeout=HANG_S)
        yield Terminal(spawned)
        spawned.send("quit\r")
        spawned.expect(pexpect.EOF, timeout=HANG_S)
    finally:
        spawned.close(force=True)


def completes(terminal: Terminal, typed: str, word: str) -> bool:
    """True where Tab offers ``word``."""
    terminal.type(f"{typed}\t")
    try:
        terminal.shows(re.escape(word), within_s=1)
    except pexpect.TIMEOUT:
        return False
    finally:
        terminal.type("\x03")
    return True


def a_morning(gateway: Gateway, postgres: Postgres, folder: Path) -> None:
    with pgcli(gateway, folder) as terminal:
        shown = terminal.answer("select id, mail, ssn from customers where id < 3 order by id;", "SELECT 2")
        assert "p***@***.com" in shown
        assert "***-**-****" in shown
        assert "078-05" not in shown
        # Its completions come from the catalogue, which it asks for on a connection of its own.
        until(lambda: completes(terminal, "select * from custo", "customers"), "a completion of a table")
        shown = terminal.answer("drop table notes;", r"Session ses_\w+")
        assert "Tables stay." in shown
        assert "Decided by rule" in shown
        terminal.answer("select\r2 +\r40 as answer;", r"\| 42 ")
        in_a_block(terminal)
        for command, pattern in DESCRIBING:
            terminal.answer(command, pattern)
        interrupted(terminal, postgres)


DESCRIBING = [
    ("\\d customers", "customers_pkey"), ("\\dt", "notes"), ("\\l", "template0"), ("\\dn", "pg_database_owner"),
    ("\\du", "md5user"), ("\\df", "Result data type"), ("\\di", "notes_pkey"), ("\\dv", "contacts"),
    ("\\d+ notes", "nextval"), ("\\dx", "plpgsql"),
]  # fmt: skip


def in_a_block(terminal: Terminal) -> None:
    terminal.answer("begin;", "BEGIN")
    terminal.answer("insert into notes (body) values ('in a block');", "INSERT 0 1")
    terminal.answer("select 1/0;", "division by zero")
    terminal.answer("select 1;", "current transaction is aborted")
    terminal.answer("rollback;", "ROLLBACK")
    terminal.answer("select count(*) from notes where body = 'in a block';", r"\| 0 ")


def interrupted(terminal: Terminal, postgres: Postgres) -> None:
    terminal.type("select pg_sleep(600);\r")
    active = "SELECT query FROM pg_stat_activity WHERE state = 'active'"
    until(lambda: "pg_sleep(600)" in postgres.admin("shop", active), "it sleeps")
    terminal.type("\x03")
    # Otherwise it would say that it had to connect anew.
    terminal.shows("cancelled query(?! and)")
    terminal.type("select 40 + 3 as again \\watch 1;\r")
    for _ in range(2):
        terminal.shows(r"\| 43 ")
        # Ctrl-C while it shows an answer ends that, and not the watching.
        terminal.shows("Waiting for 1.* before repeating")
    terminal.type("\x03")
    terminal.answer("select 6 * 7;", r"\| 42 ")


async def test_a_morning_at_the_terminal(gateway: Gateway, postgres: Postgres, tmp_path: Path) -> None:
    gateway.rules = (ADVISED, FORBID_DROP)
    await asyncio.to_thread(a_morning, gateway, postgres, tmp_path)
    await gateway.idle()
    lines = [line for session in range(len(gateway.servings)) for line in gateway.recorded("operation", session)]
    assert [line["text"] for line in lines if line["verdict"] != "allowed"] == ["drop table notes"]
    assert sum("pg_catalog" in str(line["text"]) for line in lines) > 10, "its completions and its describing commands"
