"""sed and awk: what is recognised is harmless, the rest is code."""

import pytest

from agent.core.shell import classify
from agent.core.shell.scripts import sed_script


@pytest.mark.parametrize(
    "script",
    [
        "5p",
        "$d",
        "1,5p",
        "/a/d",
        "/a/,/b/d",
        "/a/,+3p",
        "0~3p",
        "s/a/b/",
        "s|a|b|g",
        "s/a/b/;s/c/d/",
        "/a/{s//b/;p}",
        "1!G;h;$!d",
        "y/abc/def/",
        "/x/!d",
        "n;d",
        "a foo",
        "1i foo",
        "$=",
        "5q",
        "s/a\\/b/c/",
        "# note",
        ":a;N;$!ba;s/\\n/ /g",
        "s/a/b/2p",
        "",
        "/a/I d",
        "1,3 !p",
    ],
)
def test_editing_is_safe(script: str) -> None:
    assert sed_script(script) == "safe"


@pytest.mark.parametrize(
    "script",
    [
        "1e rm",
        "e",
        "s/a/b/e",
        "s/a/b/ge",
        "s/a/b/;e rm",
        "/a/{e rm\n}",
        "1!e rm",
        "$!{e\n}",
        "s/a/b/w f\ne rm",
        "a\\\nx\ne rm",
        "y/a/b/;e rm",
        "/[/e rm #]/d",
        "b x;e rm",
        "1,e rm",
        "s\\a\\b\\e",
        "z;e",
        "v;e rm",
        "p;;e rm",
        "\\,x,e rm",
        "s/a",
    ],
)
def test_running_is_code(script: str) -> None:
    assert sed_script(script) == "code"


@pytest.mark.parametrize("script", ["w f", "s/a/b/w f", "/a/W f", "s/a/b/gw f\np"])
def test_writing_is_writing(script: str) -> None:
    assert sed_script(script) == "write"


@pytest.mark.parametrize(
    ("line", "effects"),
    [
        ("sed -n 5p f", {"read"}),
        ("sed -i s/a/b/ f", {"read", "write"}),
        ("sed -ni.bak p f", {"read", "write"}),
        ("sed --in-place p f", {"read", "write"}),
        ("sed p f -i", {"read", "write"}),
        ("sed -e p -e d f", {"read"}),
        ("sed -f x f", {"read", "unknown"}),
        ("sed $x f", {"read", "write", "unknown"}),
        ("sed -e p -e 'e rm' f", {"read", "unknown"}),
        ("sed --expression='e rm' f", {"read", "unknown"}),
        ("sed -ne 'e rm' f", {"read", "unknown"}),
        ("awk '{print $1}' f", {"read"}),
        ("awk -F: '$3 > 5 {print $1}' f", {"read"}),
        ("awk '/a|b/' f", {"read"}),
        ("awk '{print > \"f\"}'", {"read", "write"}),
        ("awk 'BEGIN{system(\"rm\")}'", {"read", "unknown"}),
        ("awk '{print | \"rm\"}'", {"read", "unknown"}),
        ("awk '\"rm\" | getline'", {"read", "unknown"}),
        ("awk -f x", {"read", "unknown"}),
        ('awk "$x"', {"read", "unknown"}),
        ("awk -v a=1 '{print a}'", {"read"}),
        ("gawk -l x '{}'", {"read", "unknown"}),
        ("gawk '@load \"x\"'", {"read", "unknown"}),
        ("awk", {"read", "unknown"}),
    ],
)
def test_lines(line: str, effects: set[str]) -> None:
    assert classify(line).effects == effects
