"""What zsh reads in another way than bash."""

from agent.core.shell.guard.grammar import differs


def test_zsh_writes_over_files() -> None:
    for line in ("echo x >! /etc/motd", "echo x >>! f", "echo x >&! f", "echo x &>! f"):
        assert differs("zsh", line)
        assert not differs("bash", line)
    assert not differs("zsh", "echo x > f 2>&1; ! true >| f")


def test_other_shells_read_what_was_classified() -> None:
    for line in (r"find / \x2ddelete", "echo a\tb", "ls -l"):
        assert not differs("bash", line)
        assert not differs("zsh", line)
