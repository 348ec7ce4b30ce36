"""fish's words, and what they are to a POSIX shell."""

import shutil
import subprocess

import pytest

from agent.core.shell.fish.statements import render
from agent.core.shell.fish.words import UnreadableError, quoted

BASH = shutil.which("bash")


def word(text: str) -> str:
    rendered = render(f"x {text}").text
    assert rendered.startswith("{ x ")
    assert rendered.endswith("\n}")
    return rendered[len("{ x ") : -len("\n}")]


@pytest.mark.parametrize(
    ("fish", "posix"),
    [
        ("a", "a"),
        ("a'b c'd", "'ab cd'"),
        (r"'it\'s'", r"'it'\''s'"),
        (r"'a\\'", r"'a'\\"),
        (r"'a\n'", r"'a'\\'n'"),
        (r'"a\"\$\\ \n"', r"""'a"$'\\' '\\'n'"""),
        ('""', "''"),
        (r"\x2ddelete", "-delete"),
        (r"-\144elete", "-delete"),
        (r"\u002d\U0000002dhelp", "--help"),
        (r"a\tb\n", "'a\tb\n'"),
        (r"\$x\ \;\*", "'$x ;*'"),
        ("[a-z]", "'[a-z]'"),
        ("a[1]", "'a[1]'"),
        ("{}", "'{}'"),
        ("HEAD@{1}", "'HEAD@{1}'"),
        ("`touch`", "'`touch`'"),
        ("a=b", "'a=b'"),
        ("then", "'then'"),
        ("*.c", "*.c"),
        ("~/a", "~/a"),
        (r"\~/a", "'~/a'"),
        ("$v", "${v}"),
        ('"$v a"', "\"${v}\"' a'"),
        ("$v[1..-2]$$u", "${v}${u}"),
        ("$v[$i]", "${v}${i}"),
        ("$status", "$?"),
        ("(date)", "$( date)"),
        ('a"$(date)[1]"', 'a"$( date)"'),
        ("(ls)[(count a)]", "$( ls)$( count a)"),
        ("()", "${words}"),
        ("a{b,(ls),'$(rm)'}c", "a${words}$( ls)c"),
        ("'(rm)'", "'(rm)'"),
        ('"(rm)"', "'(rm)'"),
    ],
)
def test_a_word_is_the_same_word(fish: str, posix: str) -> None:
    assert word(fish) == posix


@pytest.mark.parametrize(
    "text",
    [
        "'a", '"a', "(ls", "$(ls", '"$(ls"', "a\\", "$", '"a$"', "$1", "$é", "$x[a]", "$x[1", "a[b c]", "a[b", "{a, b}", "{a",
        "a}",
        "^f", "%self", "a&b", r"\cA", r"\x01", r"\xe9", r"\xzz", r"\u00e9", "a\\\nb", '"a\\\nb"', "a)", "(ls # it's\n)",
        "a\u00a0b",
        "\x0b", "(" * 30 + ")" * 30, "{" * 30 + "a,b" + "}" * 30,
    ],
)  # fmt: skip
def test_what_is_not_certain_is_not_read(text: str) -> None:
    with pytest.raises(UnreadableError):
        render(f"x {text}")


@pytest.mark.parametrize("text", ["", "a", "it's", "a\\", "\\", "'", "'\\'", '$(x) `y` "z"', "\n", "-n", "done", "é"])
def test_a_quoted_text_is_itself_to_a_shell(text: str) -> None:
    assert BASH
    done = subprocess.run([BASH, "-c", f"printf '<%s>' {quoted(text)}"], capture_output=True, text=True, check=True)
    assert done.stdout == f"<{text}>"
