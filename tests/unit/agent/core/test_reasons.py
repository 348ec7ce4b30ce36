from __future__ import annotations

from agent.core.reasons import unknown
from chalicelib.contracts.operation import Operation

FLAGS = {"eval": "eval is eval", "pager": "opens a pager", "odd": "it is odd"}
HIDES = frozenset({"eval", "odd"})


def about(*flags: str, effects: frozenset[str] = frozenset({"read", "unknown"})) -> Operation:
    return Operation(kind="exec", text="x", effects=effects, flags=frozenset(flags))


def test_each_flag_that_hides_something_is_explained() -> None:
    assert (
        unknown(about("pager", "odd", "eval"), FLAGS, HIDES)
        == "What it does cannot be known: eval is eval (eval); it is odd (odd)."
    )


def test_what_no_flag_explains_has_words_of_its_own() -> None:
    assert unknown(about("pager"), FLAGS, HIDES, "who knows") == "What it does cannot be known: who knows."
    assert unknown(about("pager"), FLAGS, HIDES) == ""


def test_what_is_known_needs_no_words() -> None:
    assert unknown(about("eval", effects=frozenset({"read"})), FLAGS, HIDES, "who knows") == ""
