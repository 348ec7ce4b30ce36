"""YAML that is bounded and knows its lines."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.yaml_lines import SIZE_LIMIT, Reader, Refusal, compose


def refused(text: str) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        compose("gateway.yaml", text)
    return caught.value.problem.line, caught.value.problem.message


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    line, message = refused(bomb)
    assert line == 1
    assert "aliases" in message


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nb: *nothing\n", 2, "aliases"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "tags"),
        ("a: !!str 1\n", 1, "tags"),
        ("a: 1\n---\nb: 2\n", 2, "one YAML document"),
        ("a: [1\nb: 2\n", 2, "not YAML"),
        ("a: 1\n\tb: 2\n", 2, "not YAML"),
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("a: \x00\n", 0, "not YAML"),
    ],
)
def test_what_cannot_be_read_says_where(text: str, line: int, word: str) -> None:
    where, message = refused(text)
    assert word in message
    assert where == line


def test_depth_is_bounded_before_anything_recurses() -> None:
    assert "nested" in refused("[" * 20_000)[1]
    assert "nested" in refused("a: " + "[" * 13 + "]" * 13)[1]


def test_size_and_count_are_bounded() -> None:
    assert "larger" in refused("a: " + "x" * SIZE_LIMIT)[1]
    assert "too much" in refused("a: [" + "1," * 60_000 + "]")[1]


def test_a_repeated_key_is_a_problem() -> None:
    reader = Reader("f")
    found = reader.mapping(compose("f", "a: 1\na: 2\n"), "it")
    assert found["a"][1].value == "1"
    assert [(problem.line, problem.message) for problem in reader.problems] == [(2, "it names 'a' twice")]


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("-3", -3), ("true", True), ("no", False), ("word", "word"), ("'12'", "12"), ("[a, b]", ["a", "b"])],
)
def test_values_keep_their_type(text: str, value: object) -> None:
    reader = Reader("f")
    node = reader.mapping(compose("f", f"k: {text}"), "it")["k"][1]
    assert reader.value(node, "k") == value
    assert reader.problems == []


@pytest.mark.parametrize("text", ["0x10", "1_000", "1:30", "1.5", "null", "{a: 1}", "[1]", "2020-01-01"])
def test_values_that_nobody_means_are_problems(text: str) -> None:
    reader = Reader("f")
    reader.value(reader.mapping(compose("f", f"k: {text}"), "it")["k"][1], "k")
    assert len(reader.problems) == 1


@given(st.text(max_size=300))
def test_any_text_is_a_node_or_a_refusal(text: str) -> None:
    with contextlib.suppress(Refusal):
        compose("f", text)
