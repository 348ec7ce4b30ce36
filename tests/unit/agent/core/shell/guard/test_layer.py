"""What is known of one shell among those it is in."""

from agent.core.shell.guard.layer import Layer
from chalicelib.contracts.operation import Operation

LINE = Operation(kind="line", text="ls", effects=frozenset({"read"}))


def test_shells_know_where_they_are() -> None:
    first = Layer("a" * 16)
    second = Layer("b" * 16, outer=first, by="sudo -i")
    third = Layer("c" * 16, outer=second, by="exec bash")
    assert third.chain == [third, second, first]
    assert third.inside == "sudo -i > exec bash"
    assert (first.depth, second.depth, third.depth) == (0, 1, 2)
    second.gone = True
    assert third.depth == 1, "one that was replaced is not there any more"
    assert first.inside == ""


def test_a_line_ends_once() -> None:
    shell = Layer("a" * 16, account="web@db")
    shell.under_way = (LINE, 5, 100)
    ran = shell.over(3, 9)
    assert ran is not None
    assert (ran.operation, ran.status, ran.began_ms, ran.ended_ms, ran.shown_from) == (LINE, 3, 5, 9, 100)
    assert (ran.depth, ran.account) == (0, "web@db")
    assert shell.over(3, 9) is None
