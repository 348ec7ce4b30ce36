"""What zsh and fish read in another way than bash."""

import pytest

from agent.core.shell.guard.grammar import differs


@pytest.mark.parametrize(
    "line",
    [
        r"find / \x2ddelete",
        r"find / -\144elete",
        r"ls \u002d\u002dhelp",
        r"echo a\tb",
        r"sed 's/a/\\/;#/e'",
        r"echo 'it\'s'",
        r"""echo "a" '\\'""",
    ],
)
def test_fish_reads_more_escapes(line: str) -> None:
    assert differs("fish", line)
    assert not differs("bash", line)
    assert not differs("zsh", line)


@pytest.mark.parametrize(
    "line",
    [
        "ls -l",
        r"find . -name \*.py -exec ls {} \;",
        r"grep '\.conf\b' a\ b",
        r"""echo "a\tb \\ '\\'" """,
        r"""echo "it's" \$x '"\n"' """,
        "echo 'a\\",
    ],
)
def test_fish_reads_the_same(line: str) -> None:
    assert not differs("fish", line)


def test_zsh_writes_over_files() -> None:
    for line in ("echo x >! /etc/motd", "echo x >>! f", "echo x >&! f", "echo x &>! f"):
        assert differs("zsh", line)
        assert not differs("bash", line)
    assert not differs("zsh", "echo x > f 2>&1; ! true >| f")
