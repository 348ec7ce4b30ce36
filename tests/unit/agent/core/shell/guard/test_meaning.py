"""What questions of a guarded shell ask for."""

import pytest

from agent.core.shell.guard.layer import Layer
from agent.core.shell.guard.meaning import EDITED, HIDDEN, TOO_DEEP, Meant, Question, read, unguarded
from agent.core.units import Refused

NONCE = "0123456789abcdef"
FIRST = Layer(NONCE, shell="bash")
INNER = Layer("f" * 16, outer=FIRST, by="sudo -i", shell="bash")
FUNCTION = (b"F", b"f () \n{ \n    frobnicate\n}")


def asked(line: bytes, layer: Layer = FIRST, kind: bytes = b"L", about: tuple[bytes, ...] = ()) -> Meant:
    found = read(layer, {NONCE}, Question(kind, b"/srv", line, about))
    assert isinstance(found, Meant)
    return found


def test_a_line_in_the_first_shell() -> None:
    found = asked(b"ls -l")
    assert (found.launch, found.steps) == (None, False)
    assert found.operation.kind == "line"
    assert found.operation.environment == (("PWD", "/srv"),)
    assert found.operation.flags == {"pty", "shell"}
    assert asked(b"ls", kind=b"S").operation.kind == "step"


def test_an_inner_shell_is_part_of_what_is_approved() -> None:
    assert asked(b"ls", INNER).operation.environment == (("PWD", "/srv"), ("INSIDE", "sudo -i"))
    assert asked(b"ls", INNER).operation.digest() != asked(b"ls").operation.digest()


def test_a_line_that_starts_a_shell_is_not_opaque() -> None:
    found = asked(b"sudo -i")
    assert found.launch is not None
    assert found.operation.effects == {"execute"}
    assert not found.operation.flags & {"opaque", "code_from_stdin"}
    assert asked(b"sudo -i", kind=b"S").launch is None, "only where a line can be discarded"
    again = unguarded(Layer("e" * 16, outer=FIRST, shell="dash"), found.operation)
    assert {"unknown", "execute"} <= again.effects
    assert "opaque" in again.flags
    assert again.digest() != found.operation.digest(), "a yes to the one is no yes to the other"


def test_shells_are_not_guarded_without_end() -> None:
    layer = FIRST
    for number in range(8):
        layer = Layer(f"{number:016d}", outer=layer, by="bash", shell="bash")
    found = read(layer, {NONCE}, Question(b"L", b"/", b"bash"))
    assert isinstance(found, Refused)
    assert found.message == TOO_DEEP


def test_a_function_is_decided_by_its_text() -> None:
    found = asked(b"f", about=FUNCTION)
    assert found.steps
    assert "unknown" not in found.operation.effects
    assert "frobnicate" in found.operation.verbs
    assert "unknown" in asked(b"f").operation.effects


@pytest.mark.parametrize("about", [(b"F", b"ls () \n{ \n    $x\n}"), (b"F", b"")])
def test_a_known_name_that_a_function_has_says_nothing(about: tuple[bytes, ...]) -> None:
    found = asked(b"ls", about=about)
    assert not found.steps
    assert "unknown" in found.operation.effects


def test_a_function_with_pipes_is_decided_with_its_text_and_not_asked_about_again() -> None:
    about = (b"F", b"f () \n{ \n    ps aux | grep x\n}")
    for kind in (b"L", b"S"):
        found = asked(b"f", about=about, kind=kind)
        assert not found.steps
        assert "unknown" not in found.operation.effects
        assert dict(found.operation.environment)["FUNCTION"] == about[1].decode(), "it is what a yes is a yes to"
    assert "unknown" in asked(b"f", about=(b"F", b"f () \n{ \n    frobnicate | grep x\n}")).operation.effects


def test_a_command_that_no_line_was_asked_about_may_stand_before_a_pipe() -> None:
    within = Layer(NONCE, shell="bash", steps=1000)
    for line, about in ((b"eval 'frobnicate'", ()), (b"f", FUNCTION), (b"source ./x", (b"S", b"frobnicate"))):
        found = asked(line, about=about, kind=b"S")
        assert "unknown" in found.operation.effects
        assert found.steps, "and is asked about again where it is allowed all the same"
        assert "unknown" not in asked(line, within, about=about, kind=b"S").operation.effects
    assert "unknown" in asked(b"eval 'ls | cat'", within, kind=b"S").operation.effects, "its commands will be asked about"


@pytest.mark.parametrize("head", ["for i in a $x", 'for i in "$@"', "select x in a b", "case $1 in ", 'case "$(ls)" in '])
def test_of_a_compound_command_the_shell_tells_its_head(head: str) -> None:
    within = Layer(NONCE, shell="bash", steps=1000)
    found = asked(head.encode(), within, kind=b"S")
    assert found.operation.text == head
    assert found.operation.effects == {"read"}
    assert found.operation.verbs <= {"ls"}
    for more in ("$(frobnicate)", "<(frobnicate)", "`frobnicate`"):
        worse = head.replace(" in ", f" in {more} ") if head[0] != "c" else f"case {more} in "
        assert "unknown" in asked(worse.encode(), within, kind=b"S").operation.effects, worse
    assert "unknown" in asked(head.encode(), within).operation.effects, "a line is whole, or it is not one"


def test_what_comes_from_an_editor_is_a_line() -> None:
    question = Question(b"S", b"/", b'fc -e "${VISUAL:-${EDITOR:-emacs}}"')
    found = read(Layer(NONCE, shell="bash"), set(), question)
    assert isinstance(found, Refused)
    assert found.message == EDITED
    assert isinstance(read(Layer(NONCE, shell="bash", steps=1), set(), question), Meant), "it is a command of an allowed line"
    assert isinstance(read(Layer(NONCE, shell="bash"), set(), Question(b"S", b"/", b"vi /tmp/bash-fc.x")), Meant)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_only_bash_asks_about_each_command(shell: str) -> None:
    found = asked(b"eval 'echo x'", Layer(NONCE, shell=shell))
    assert not found.steps
    assert "unknown" in found.operation.effects
    assert asked(b"eval 'echo x'").steps


def test_a_variable_may_hold_anything() -> None:
    assert "unknown" in asked(b"echo $((x))").operation.effects
    assert "unknown" not in asked(b"x=1; echo $((x))").operation.effects


@pytest.mark.parametrize("line", [b"__sp_run", b"echo " + NONCE.encode()])
def test_the_guard_is_nobodys_business(line: bytes) -> None:
    found = read(INNER, {NONCE, "f" * 16}, Question(b"L", b"/", line))
    assert isinstance(found, Refused)
    assert found.message == HIDDEN


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_starters_without_end_are_decided_as_unknown(shell: str) -> None:
    found = read(Layer(NONCE, shell=shell), {NONCE}, Question(b"L", b"/", b"sudo " * 13_000 + b"ls"))
    assert isinstance(found, Meant)
    assert (found.launch, "unknown" in found.operation.effects) == (None, True)
