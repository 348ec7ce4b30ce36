"""Which lines can be decided command by command, and what they mean then."""

import pytest

from agent.core.shell.classify import classify
from agent.core.shell.guard.steps import TEXT_LIMIT, defined, stepped, whole
from agent.core.shell.model import UNKNOWN_FLAGS, Classification


def of_function(body: str, line: str = "f") -> Classification | None:
    return stepped(line, classify(line), (b"F", f"f () \n{{ \n    {body}\n}}".encode()))


def of_file(text: str, line: str = "source ./x") -> Classification | None:
    return stepped(line, classify(line), (b"S", text.encode()))


@pytest.mark.parametrize(
    "body",
    [
        "echo a; frobnicate b",
        "if true; then frobnicate; fi > /tmp/x",
        "for i in a b; do frobnicate $i; done",
        'local x="$1"; echo "$x"',
        "x=$(date); echo $x",
        "x=$(ps aux | grep x)",
        "g; h",
        "(cd /tmp; ls)",
        "diff <(ls a) <(ls b)",
        "echo `date`",
        "eval 'echo x'",
    ],
)
def test_what_can_be_asked_about(body: str) -> None:
    for meaning in (of_function(body), of_file(body), of_file(body, ". /a/b c")):
        assert meaning is not None
        assert "unknown" not in meaning.effects
        assert "execute" in meaning.effects
        assert "steps" in meaning.flags
        assert not meaning.flags & UNKNOWN_FLAGS


@pytest.mark.parametrize(
    "body",
    [
        "$1 x",
        "x=$(frobnicate)",
        "echo `frobnicate`",
        "echo `ls \\`frobnicate\\``",
        "(frobnicate)",
        "cat <(frobnicate)",
        "frobnicate &",
        "ls & ",
        "{ frobnicate; } | cat",
        "ps aux | grep x",
        "eval 'frobnicate' | cat",
        "g |& cat",
        "source /x | cat",
        "ls | while read x; do frobnicate; done",
        "coproc frobnicate",
        "eval 'frobnicate &'",
        "command eval 'x=$(frobnicate)'",
        "eval eval 'ls|(frobnicate)'",
        'eval "$1"',
        "trap 'ls' EXIT",
        "ls() { frobnicate; }",
        "g() { frobnicate; }",
        "eval 'g() { frobnicate; }'",
        "alias ls=frobnicate",
        "PATH=/tmp",
        "set -o posix",
        "((x))",
        "curl x | sh",
        "sh x.sh",
        "if",
        "x" * (TEXT_LIMIT + 1),
        "echo \ufffd",
    ],
)
def test_what_cannot(body: str) -> None:
    assert of_function(body) is None
    assert of_file(body) is None


def test_the_whole_text_counts() -> None:
    meaning = of_function("if false; then touch /a; fi", "f /b > /c")
    assert meaning is not None
    assert {"f", "touch"} <= meaning.verbs
    assert {"/a", "/c"} <= meaning.objects
    assert "write" in meaning.effects


@pytest.mark.parametrize("line", ["f &", "f | $x", "$(frobnicate) f", "f; $x", "(f; g) | cat"])
def test_the_line_counts_too(line: str) -> None:
    assert of_function("ls", line) is None


@pytest.mark.parametrize(
    "line",
    ["source x", "source ./x; ls", "ls; source ./x", "source ./x < y", "source $x", "source <(ls)", "f", "source ./x*",
     "source './x'", "source ./x\\ y", "source ./[x]", "source ~/x", ". ./{x,y}"],
)  # fmt: skip
def test_a_file_is_read_by_its_path_and_alone(line: str) -> None:
    assert of_file("ls", line) is None


def test_a_function_whose_text_looks_strange_is_not_known() -> None:
    assert stepped("f", classify("f"), (b"F", b"ls; f() { ls; }\nls")) is None
    assert stepped("f", classify("f"), (b"X", b"f () \nls")) is None


def test_the_text_of_an_eval() -> None:
    meaning = stepped("eval 'frobnicate /x'", classify("eval 'frobnicate /x'"), ())
    assert meaning is not None
    assert "frobnicate" in meaning.verbs
    assert "/x" in meaning.objects
    for line in ("eval $x", "eval 'x &'", "eval ls | sh", "ls", "source ./x", "eval 'frobnicate' | cat", "eval 'ls | cat'"):
        assert stepped(line, classify(line), ()) is None


def wholly(line: str, body: str | None = None) -> Classification | None:
    return whole(line, classify(line), () if body is None else (b"F", f"f () \n{{ \n    {body}\n}}".encode()))


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("f", "ps aux | grep x"),
        ("f x | wc -l", "ps aux"),
        ("  f a > /tmp/x; ls | wc", "ls | while read x; do echo $x; done"),
        ("eval 'ls | wc'", None),
        ("eval ls | wc", None),
    ],
)
def test_what_is_known_from_its_text(line: str, body: str | None) -> None:
    meaning = wholly(line, body)
    assert meaning is not None
    assert "unknown" not in meaning.effects
    assert "execute" in meaning.effects
    assert not meaning.flags & (UNKNOWN_FLAGS | {"steps"})
    assert meaning.verbs & {"ps", "ls"}
    assert "true" not in meaning.verbs


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("f", "frobnicate | cat"),
        ("f", "f | cat"),
        ("f", "eval ls | cat"),
        ("f", "source ./x | cat"),
        ("f", 'eval "$1" | cat'),
        ("f", "g() { ls | cat; }"),
        ("f | frobnicate", "ls"),
        ("f; f", "ls"),
        ("ls | f", "ls"),
        ("xargs f", "ls"),
        ("x=1 f", "ls | cat"),
        ("f < x", "bash | cat"),
        ("f <<< x", "ls"),
        ("f 0>&3", "psql | cat"),
        ("f <<X\nls\nX", "ls"),
        ("f $(frobnicate)", "ls"),
        ("f & $x", "ls"),
        ("eval 'frobnicate' | cat", None),
        ("eval $x | cat", None),
        ("eval 'eval ls' | cat", None),
        ("ls | cat", None),
        ("f", None),
    ],
)
def test_what_is_not(line: str, body: str | None) -> None:
    assert wholly(line, body) is None


def test_a_definition_runs_nothing() -> None:
    for line in ("f() { eval g; }", "f() { frobnicate /x; }"):
        meaning = defined(line, classify(line), (b"D", b""))
        assert meaning is not None
        assert "unknown" not in meaning.effects
        assert not meaning.flags & UNKNOWN_FLAGS
    for about in ((b"D", b"file"), (b"D", b"function"), (), (b"F", b"x")):
        assert defined(line, classify(line), about) is None, about
    for line in (
        "_f() { x; }",
        "precmd() { x; }",
        "f-g() { x; }",
        "f() { ls; }; f",
        "ls() { ls; }",
        "f() { $x; }",
        "ls",
        "f() { ls; } | cat",
        "f() { trap x EXIT; }",
        'f() { eval "$1"; }',
        "f() { eval 'trap x EXIT'; }",
        "f() { ls; }; eval f",
    ):
        assert defined(line, classify(line), (b"D", b"")) is None, line
