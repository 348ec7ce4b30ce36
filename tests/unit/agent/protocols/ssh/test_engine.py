"""What SSH requests mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.units import Asked, Refused
from agent.protocols.ssh import engine
from agent.protocols.ssh.engine import (
    EVERY_EFFECT,
    SCRIPT_SHELL,
    STREAM,
    Terminal,
    Wish,
    feeds,
    forward,
    forwarding,
    is_term,
    passes,
    read,
    read_script,
    unreadable,
)

TERMINAL = Terminal("xterm", 80, 24)


def test_a_command_is_an_operation_with_its_exact_text() -> None:
    asked = read(Wish(kind="exec", text="rm -rf /srv/x", environment=(("LANG", "C"),)), shell=None)
    assert isinstance(asked, Asked)
    operation = asked.operation
    assert (operation.action, operation.kind, operation.text) == ("run", "exec", "rm -rf /srv/x")
    assert asked.data == b"rm -rf /srv/x"
    assert "rm" in operation.verbs
    assert "write" in operation.effects
    assert "/srv/x" in operation.objects
    assert operation.environment == (("LANG", "C"),)
    assert "pty" not in operation.flags


def test_a_terminal_is_something_that_policy_can_see() -> None:
    asked = read(Wish(kind="exec", text="ls", terminal=TERMINAL), shell=None)
    assert isinstance(asked, Asked)
    assert "pty" in asked.operation.flags


def test_the_environment_is_part_of_what_is_approved() -> None:
    one, two = (read(Wish(kind="exec", text="ls", environment=(("LANG", value),)), shell=None) for value in ("C", "de"))
    assert one.operation.digest() != two.operation.digest()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_request"),
        (" \t\n", "bad_request"),
        ("ls\0 -la", "bad_request"),
        ("x" * (64 * 1024 + 1), "too_large"),
        ("é" * (32 * 1024 + 1), "too_large"),
        ("scp -t /tmp", "not_supported"),
        ("scp -f /tmp", "not_supported"),
        ("scp -r -p -d -t -- /tmp", "not_supported"),
        ("scp -prt /tmp", "not_supported"),
        ("/usr/bin/scp -v -f x", "not_supported"),
        ("/usr/lib/openssh/sftp-server", "not_supported"),
        ("sftp-server -l INFO", "not_supported"),
        ("env scp -t /tmp", "not_supported"),
        ("true; 'sc'p -qf /etc/passwd", "not_supported"),
        ("exec /usr/lib/openssh/sftp-server", "not_supported"),
    ],
)
def test_commands_that_are_refused(text: str, code: str) -> None:
    refused = read(Wish(kind="exec", text=text), shell="recorded")
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert len(refused.operation.text) <= 1001


@pytest.mark.parametrize(
    "text", ["scp a host:b", "scp -F config a b:", "scp --help", "echo scp -t", "scpx -t", "ls sftp-server", "tfscp"]
)
def test_their_innocent_twins_are_not(text: str) -> None:
    assert isinstance(read(Wish(kind="exec", text=text), shell=None), Asked)


@given(st.text(max_size=300))
def test_any_text_is_asked_exactly_or_refused(text: str) -> None:
    unit = read(Wish(kind="exec", text=text), shell=None)
    if isinstance(unit, Asked):
        assert unit.data.decode() == unit.operation.text == text
        assert text.strip()
        assert unit.operation.effects


def test_a_shell_needs_the_option_and_a_terminal_and_could_do_anything() -> None:
    asked = read(Wish(kind="shell", terminal=TERMINAL), shell="recorded")
    assert isinstance(asked, Asked)
    assert asked.operation.effects == EVERY_EFFECT
    assert {"shell", "opaque"} <= asked.operation.flags
    for wish, shell in [
        (Wish(kind="shell", terminal=TERMINAL), None),
        (Wish(kind="shell", terminal=TERMINAL), "yes"),
        (Wish(kind="shell"), "recorded"),
    ]:
        refused = read(wish, shell=shell)
        assert isinstance(refused, Refused)
        assert refused.code == "not_supported"


def test_a_shell_whose_lines_are_decided_only_reads() -> None:
    for mode in ("guarded", "locked"):
        asked = read(Wish(kind="shell", terminal=TERMINAL), shell=mode)
        assert isinstance(asked, Asked)
        assert asked.operation.effects == {"read"}
        assert asked.operation.flags == {"shell", mode}
        assert b"IFS= read -r x" in asked.data


def test_subsystems() -> None:
    asked = read(Wish(kind="subsystem", text="sftp"), shell=None)
    assert isinstance(asked, Asked)
    assert (asked.operation.action, asked.operation.flags) == ("transfer", frozenset({"metadata"}))
    for name in ("netconf", "SFTP", "", "sftp "):
        assert isinstance(read(Wish(kind="subsystem", text=name), shell="recorded"), Refused)


@pytest.mark.parametrize(
    ("name", "value", "result"),
    [
        (b"LANG", b"de_DE.UTF-8@euro", True),
        (b"LC_ALL", b"C", True),
        (b"LC_CTYPE", b"UTF-8", True),
        (b"LANG", b"en_US", True),
        (b"LANG", b"", True),
        (b"LANG", b"fr_FR.ISO8859-15@euro", True),
        (b"LC_TIME", b"zh_TW", True),
        # where a byte of ASCII may be half a character
        (b"LC_ALL", b"zh_CN.GBK", False),
        (b"LANG", b"zh_TW", False),
        (b"LC_CTYPE", b"ja_JP.SJIS", False),
        (b"LANG", b"chinese-t", False),
        (b"LC_TIME", b"", True),
        (b"LANG", b"x" * 257, False),
        (b"LANG", b"C; id", False),
        (b"LANG", b"$(id)", False),
        (b"LANG", b"../../evil", False),
        (b"LANG", b"C\n", False),
        (b"LC_", b"C", False),
        (b"LC_all", b"C", False),
        (b"LC_ALL\0", b"C", False),
        (b"LD_PRELOAD", b"x", False),
        (b"DYLD_INSERT_LIBRARIES", b"x", False),
        (b"BASH_ENV", b"x", False),
        (b"PROMPT_COMMAND", b"id", False),
        (b"TERM", b"xterm", False),
        (b"LANGUAGE", b"de", False),
    ],
)
def test_the_environment_that_passes(name: bytes, value: bytes, result: bool) -> None:
    assert passes(name, value) is result


@pytest.mark.parametrize(
    ("name", "result"), [("xterm-256color", True), ("", True), ("x" * 65, False), ("a b", False), ("x\x1b", False)]
)
def test_terminal_types(name: str, result: bool) -> None:
    assert is_term(name) is result


def test_forwarding_names_what_it_would_reach() -> None:
    refused = forwarding("direct-tcpip", "db:5432")
    assert (refused.operation.action, refused.operation.kind, refused.code) == ("forward", "direct-tcpip", "not_supported")
    assert refused.operation.objects == frozenset({"db:5432"})
    assert forwarding("tun", "").operation.objects == frozenset()
    assert unreadable("exec").code == "bad_request"


def test_a_forward_says_where_and_which_way() -> None:
    asked = forward("direct-tcpip", "DB.internal.", 5432, {"forward": ["db.internal:5432"]})
    assert isinstance(asked, Asked)
    operation = asked.operation
    assert (operation.action, operation.text) == ("forward", "direct-tcpip db.internal:5432")
    assert (operation.host, operation.port, operation.direction) == ("db.internal", 5432, "local")
    assert asked.data == b"db.internal:5432"
    back = forward("tcpip-forward", "", 0, {"listen": ["*:*"]})
    assert isinstance(back, Asked)
    assert (back.operation.host, back.operation.port, back.operation.direction) == ("*", 0, "remote")
    assert back.operation.digest() != operation.digest()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "not_supported"),
        ({"forward": []}, "not_supported"),
        ({"forward": "db:22"}, "not_supported"),
        ({"listen": ["*:*"]}, "not_supported"),
        ({"forward": ["db:23", 7]}, "denied"),
    ],
)
def test_a_forward_needs_the_targets_list(options: dict[str, object], code: str) -> None:
    refused = forward("direct-tcpip", "db", 22, options)
    assert isinstance(refused, Refused)
    assert refused.code == code


def test_a_place_without_one_spelling_is_refused_and_named_as_asked() -> None:
    refused = forward("direct-tcpip", "127.1", 22, {"forward": ["*:*"]})
    assert isinstance(refused, Refused)
    assert (refused.code, refused.operation.objects) == ("bad_request", frozenset({"127.1:22"}))


@pytest.mark.parametrize(
    ("wish", "command"),
    [
        (Wish(kind="exec", text="bash -s"), "bash -s"),
        (Wish(kind="shell"), SCRIPT_SHELL),
        (Wish(kind="exec", text="bash -s", terminal=TERMINAL), None),
        (Wish(kind="shell", terminal=TERMINAL), None),
        (Wish(kind="subsystem", text="sftp"), None),
        (Wish(kind="exec", text="cat | bash"), None),
        (Wish(kind="exec", text="ls"), None),
    ],
)
def test_what_is_fed_its_program(wish: Wish, command: str | None) -> None:
    assert feeds(wish) == command


def test_a_script_and_its_command_are_one_operation() -> None:
    wish = Wish(kind="exec", text="bash -s", environment=(("LANG", "C"),))
    unit, fed = read_script(wish, "bash -s", b"rm -r '/srv/x'\n")
    assert isinstance(unit, Asked)
    operation = unit.operation
    assert (operation.kind, operation.text) == ("script", "bash -s\nrm -r '/srv/x'\n")
    assert "rm" in operation.verbs
    assert "/srv/x" in operation.objects
    assert operation.environment == (("LANG", "C"),)
    assert unit.data == b"bash -s"
    assert fed == b"eval 'rm -r '\\''/srv/x'\\''\n' </dev/null; exit\n"
    other, _ = read_script(wish, "bash -s", b"rm -r '/srv/y'\n")
    assert isinstance(other, Asked)
    assert other.operation.digest() != operation.digest()


def test_code_that_is_not_read_is_fed_as_it_is() -> None:
    unit, fed = read_script(Wish(kind="exec", text="python3 -"), "python3 -", b"print('x')")
    assert isinstance(unit, Asked)
    assert "unknown" in unit.operation.effects
    assert fed == b"print('x')"


@pytest.mark.parametrize("script", [b"\xff", b"echo \0"])
def test_what_is_no_script(script: bytes) -> None:
    unit, fed = read_script(Wish(kind="shell"), SCRIPT_SHELL, script)
    assert isinstance(unit, Refused)
    assert (unit.code, fed) == ("bad_request", b"")


@pytest.mark.parametrize(
    ("text", "terminal", "stream"),
    [
        ("rsync --server --sender -re.iLsf . /srv", None, True),
        ("git-upload-pack '/srv/x.git'", None, True),
        ("rsync --server --sender -re.iLsf . /srv", TERMINAL, False),
        ("rsync --server --sender -re.iLsf . /srv; id", None, False),
        ("rsync --server --sender -re.iLsf . /srv > /tmp/x", None, False),
        ("rsync --server --sender -re.iLsf . $(id)", None, False),
        ("sudo rsync --server --sender -re.iLsf . /srv", None, False),
        ("rsync -a /a /b", None, False),
    ],
)
def test_one_stream_and_nothing_else(text: str, terminal: Terminal | None, stream: bool) -> None:
    asked = read(Wish(kind="exec", text=text, terminal=terminal), shell=None)
    assert isinstance(asked, Asked)
    assert (STREAM in asked.operation.flags) is stream


@pytest.mark.parametrize(
    ("mode", "value"), [(1, 3), (3, 127), (4, 21), (8, 17), (9, 255), (36, 1), (38, 0), (51, 1), (128, 38400)]
)
def test_modes_that_people_ask_for_pass(mode: int, value: int) -> None:
    assert engine.modes({mode: value}) == {mode: value}


@pytest.mark.parametrize(("mode", "value"), [(1, 100), (8, 107), (10, 32), (18, 0xC3), (8, 1 << 31), (37, 1), (52, 0), (71, 1)])
def test_modes_that_take_letters_out_or_change_them_do_not(mode: int, value: int) -> None:
    assert engine.modes({mode: value, 38: 1}) == {38: 1}
