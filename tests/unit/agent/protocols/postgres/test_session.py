"""Questions that the gateway asks of the server on its own behalf, and what clients see of them: nothing."""

from __future__ import annotations

from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Opened, Session
from agent.protocols.postgres import messages
from agent.protocols.postgres.session import SessionBook
from agent.protocols.postgres.snapshot import Known, Snapshot
from tests.fakes.agent_runtime import SID
from tests.unit.agent.protocols.postgres.conversation import (
    BOUND,
    CLOSED,
    FAILED,
    IDLE,
    IN_BLOCK,
    PARSED,
    SYNC,
    Conversation,
    bind,
    close,
    complete,
    error,
    execute,
    parse,
    query,
    row,
    words,
)


def asked(text: str, *values: str) -> bytes:
    """One statement of the gateway's own."""
    return (
        messages.parse("sallyport_asks", text)
        + messages.bind("sallyport_asks", "sallyport_asks", values)
        + execute("sallyport_asks")
        + close("P", "sallyport_asks")
        + close("S", "sallyport_asks")
    )


def told(*values: bytes) -> bytes:
    """What the server answers it with."""
    return PARSED + BOUND + b"".join(row(value) for value in values) + complete("IT") + CLOSED + CLOSED


ASKED_PATH = asked("SHOW search_path") + SYNC
PATH_ANSWER = told(b"a, public")
ASKED_PATH_IN_BLOCK = (
    asked("SAVEPOINT sallyport_asks")
    + asked("SHOW search_path")
    + asked("ROLLBACK TO SAVEPOINT sallyport_asks")
    + asked("RELEASE SAVEPOINT sallyport_asks")
    + SYNC
)


def test_after_a_set_the_server_is_asked_which_path_is_in_force() -> None:
    talk = Conversation()
    talk.says(query("SET search_path TO a"))
    talk.answers(complete("SET"), IDLE)
    assert talk.says(query("SELECT 1")) == ASKED_PATH
    assert talk.answers(PATH_ANSWER, IDLE) == b""
    assert talk.target.endswith(query("SELECT 1"))
    assert talk.engine.mark().search_path == ("a", "public")
    talk.answers(complete("SELECT 0"), IDLE)
    assert talk.says(query("SELECT 1")) == query("SELECT 1")


def test_a_path_that_was_asked_for_inside_a_transaction_is_asked_for_again_behind_it() -> None:
    talk = Conversation()
    talk.says(query("SET search_path TO a"))
    talk.answers(complete("SET"), IN_BLOCK)
    assert talk.says(query("SELECT 1")) == ASKED_PATH_IN_BLOCK
    assert talk.answers(told() + PATH_ANSWER + told() + told(), IN_BLOCK) == b""
    talk.answers(complete("SELECT 0"), IDLE)
    assert talk.says(query("SELECT 1")) == ASKED_PATH


def test_a_pipeline_is_not_interrupted_by_questions() -> None:
    talk = Conversation()
    assert talk.says(query("SET search_path TO a"), query("SELECT 1")) == query("SET search_path TO a") + query("SELECT 1")


def test_when_the_question_fails_the_statement_is_decided_without_an_answer() -> None:
    talk = Conversation()
    talk.says(query("SET search_path TO a"))
    talk.answers(complete("SET"), IDLE)
    talk.says(query("SELECT 1"))
    assert talk.answers(error("53200", "out of memory"), IDLE) == b""
    assert talk.target.endswith(query("SELECT 1"))


def test_the_gateways_own_name_is_refused_to_clients() -> None:
    for parts in ([parse("sallyport_asks", "SELECT 1")], [query("PREPARE sallyport_asks AS SELECT 1")]):
        talk = Conversation()
        talk.says(*parts, SYNC)
        assert b"denied by the gateway" in talk.target
        assert words(talk.answers(error()))["C"] == "42939"
    talk = Conversation()
    talk.says(parse("s", "SELECT 1"), SYNC)
    talk.answers(PARSED, IDLE)
    talk.says(bind("sallyport_asks", "s"), SYNC)
    assert words(talk.answers(error()))["C"] == "42939"


def test_a_question_that_fails_in_a_block_is_undone_once() -> None:
    talk = Conversation()
    talk.says(query("SET search_path TO a"))
    talk.answers(complete("SET"), IN_BLOCK)
    talk.says(query("SELECT 1"))
    back = asked("ROLLBACK TO SAVEPOINT sallyport_asks") + asked("RELEASE SAVEPOINT sallyport_asks") + SYNC
    assert talk.answers(told(), error("57014", "canceling statement"), FAILED) == b""
    assert talk.target.endswith(back)
    assert talk.answers(told(), told(), IN_BLOCK) == b""
    assert talk.target.endswith(query("SELECT 1")), "its transaction is open as before"


def test_where_even_the_way_back_fails_the_client_goes_on() -> None:
    talk = Conversation()
    talk.says(query("SET search_path TO a"))
    talk.answers(complete("SET"), IN_BLOCK)
    talk.says(query("SELECT 1"))
    talk.answers(error("57014", "canceling statement"), FAILED)
    talk.answers(error("3B001", "savepoint does not exist"), FAILED)
    assert talk.target.endswith(query("SELECT 1")), "and is told by the server that its transaction has failed"


# -- the name in the server's own log ------------------------------------------------------------------------------------------

MINE = messages.parameter_status("application_name", f"sallyport {SID} mine")


def asked_by_us(sent: bytes) -> bytes:
    assert sent.startswith(messages.parse("sallyport_asks", "SELECT pg_catalog.set_config('application_name', $1, false)"))
    assert f"sallyport {SID} mine".encode() in sent
    return PARSED + BOUND + row(b"x") + MINE + complete("SELECT 1") + CLOSED + CLOSED + IDLE


def test_a_session_is_named_again_before_the_next_statement() -> None:
    talk = Conversation()
    talk.says(query("SELECT 1"))
    talk.answers(messages.parameter_status("application_name", "mine"), complete("SELECT 1"), IDLE)
    sent = talk.says(query("SELECT 2"))
    assert query("SELECT 2") not in sent
    assert talk.answers(asked_by_us(sent)) == MINE
    assert talk.target.endswith(query("SELECT 2"))


def test_not_inside_of_a_block_and_not_twice() -> None:
    talk = Conversation()
    talk.says(query("SELECT 1"))
    talk.answers(messages.parameter_status("application_name", "mine"), complete("SELECT 1"), IN_BLOCK)
    assert talk.says(query("SELECT 2")) == query("SELECT 2")
    talk.answers(complete("SELECT 1"), IDLE)
    talk.says(query("SELECT 3"))
    # A server that refuses is not asked again, and the client sees nothing of it.
    assert talk.answers(error("57014", "canceling statement"), IDLE) == b""
    assert talk.target.endswith(query("SELECT 3"))
    talk.answers(complete("SELECT 1"), IDLE)
    assert talk.says(query("SELECT 4")) == query("SELECT 4")


def test_what_routines_opened_is_forgotten_with_the_transaction() -> None:
    book = SessionBook(Known(Snapshot(Catalogue(), {}, 0)))
    book.leave(Session().with_opened((Opened("SELECT 1"),)))
    assert (book.outside, book.now.opened) == (False, (Opened("SELECT 1"),))
    book.ended("I")
    assert book.now.opened, "what is still under way may have opened it"
    book.nothing_open()
    assert (book.outside, book.now) == (True, Session())
