"""Expansions: what they run is found, and what they might run later is flagged."""

import pytest

from agent.core.shell import UNKNOWN_FLAGS, classify


@pytest.mark.parametrize(
    "line",
    [
        "echo $(rm x)",
        "echo `rm x`",
        'echo "$(rm x)"',
        'echo "`rm x`"',
        "cat <(rm x)",
        "echo $((1+$(rm x)))",
        "echo ${x:-$(rm y)}",
        'echo "${x:-$(rm y)}"',
        "echo ${x/a/$(rm y)}",
        "echo ${x:$(rm y)}",
        "echo ${a[$(rm x)]}",
        "cat <<E\n$(rm x)\nE",
        "cat <<E\n`rm x`\nE",
        "cat <<-E\n\t$(rm x)\n\tE",
        "cat <<< $(rm x)",
        'cat <<< "$(rm x)"',
        "echo `echo \\`rm x\\``",
        'echo "$(echo "$(rm x)")"',
        "echo ${x:-${y:-$(rm z)}}",
        'echo "${x:-${y:-`rm z`}}"',
    ],
)
def test_a_substitution_runs(line: str) -> None:
    found = classify(line)
    assert "rm" in found.verbs or found.flags & UNKNOWN_FLAGS


@pytest.mark.parametrize(
    "line",
    [
        "echo '$(rm x)'",
        "echo \\$\\(rm x\\)",
        "cat <<'E'\n$(rm x)\nE",
        "cat <<\\E\n`rm x`\nE",
        'echo "\\$(rm x)"',
        "echo $'$(rm x)'",
    ],
)
def test_quoted_text_does_not(line: str) -> None:
    found = classify(line)
    assert "rm" not in found.verbs
    assert not found.flags & UNKNOWN_FLAGS


@pytest.mark.parametrize(
    "line",
    [
        "x='a[$(rm y)]'; echo $((x))",
        "read x; echo $((x))",
        "n=$(cat f); echo $((n+1))",
        "echo $(( $(cat f) ))",
        "echo $(($1))",
        "x='a[$(rm)]'; echo ${a[x]}",
        "echo ${!x}",
        "echo ${x@P}",
        "(( x = $(cat f) ))",
        "n=$(cat f); [[ $n -gt 1 ]]",
        "read n; [[ n -eq 1 ]]",
        "read n; echo ${x:n}",
    ],
)
def test_values_that_are_evaluated_again_are_dynamic(line: str) -> None:
    assert "unknown" in classify(line).effects


@pytest.mark.parametrize(
    "line",
    [
        "x=5; echo $((x+1))",
        "n=$(nproc); echo $((n+1))",
        "echo $(( $(date +%s) - 60 ))",
        "i=0; while [ $i -lt 3 ]; do i=$((i+1)); done",
        "echo ${#x}",
        "echo ${a[@]}",
        "echo ${!a[@]}",
        "echo ${x:1:2}",
        "echo $# $?",
        'n=$(cat f); [ "$n" -gt 1 ]',
    ],
)
def test_numbers_are_numbers(line: str) -> None:
    assert "unknown" not in classify(line).effects


@pytest.mark.parametrize(
    "line",
    [
        "cat <<E\na\nE\n",
        "cat <<'E'\na\nE\n",
        "cat <<-E\n\ta\n\tE\n",
        'cat <<"END"\na\nEND\n',
        "cat <<E > f\na\nE\nls",
        "cat <<E | wc\na\nE",
    ],
)
def test_here_documents(line: str) -> None:
    assert "unknown" not in classify(line).effects


def test_a_here_document_may_stand_in_one_substitution_but_not_in_two() -> None:
    assert "unknown" not in classify("x=$(cat <<E\na\nE\n)").effects
    assert "parse_error" in classify("x=$(echo $(cat <<E\na\nE\n))").flags
    assert "parse_error" in classify("x=($(cat <<E\na\nE\n))").flags
    assert "parse_error" in classify("x=$(cat <<E\na\nE\nls)").flags


@pytest.mark.parametrize("line", ["cat <<E\na\n E", "cat <<'a b'\nx\na b", "cat <<$x\na\n$x", "cat <<E\na\nE \nrm x"])
def test_here_documents_whose_end_is_in_doubt_are_parse_errors(line: str) -> None:
    found = classify(line)
    assert "parse_error" in found.flags


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("echo $a[$x]", False),
        ('echo "$a[$x]"', False),
        ("echo $a[x]", False),
        ("echo $a[$1]", False),
        ("echo $a[1] $a[2,-1]", True),
        ("n=3; echo $a[$n]", True),
        ("echo '$a[$x]' $d/*[ab]", True),
    ],
)
def test_a_subscript_of_zsh_is_arithmetic(line: str, known: bool) -> None:
    assert ("unknown" not in classify(line, carried=True).effects) is known
