"""Programs: known ones have effects, unknown ones are unknown, and their flags are set."""

import pytest

from agent.core.shell import EFFECTS, classify
from agent.core.shell.escapes import CHANGING, CODE
from agent.core.shell.launchers import LAUNCHERS
from agent.core.shell.programs import EFFECTS as PROGRAMS
from agent.core.shell.subcommand_tables import TOOLS


def test_every_effect_in_the_tables_is_one_of_ours() -> None:
    assert {effect for effects in PROGRAMS.values() for effect in effects} <= EFFECTS
    assert {row[2] for row in CHANGING.values()} <= EFFECTS
    assert {effect for tool in TOOLS.values() for effect in tool.effects} <= EFFECTS


def test_an_escape_belongs_to_a_program_that_is_known_otherwise() -> None:
    assert set(CODE) | set(CHANGING) <= set(PROGRAMS) | set(LAUNCHERS)


@pytest.mark.parametrize("line", ["nosuch", "nosuch x", "sudo nosuch", "ls; nosuch", "/usr/bin/nosuch", "rename x y", "_"])
def test_a_program_we_do_not_know_is_unknown(line: str) -> None:
    assert "unknown" in classify(line).effects


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("sudo ls", "privilege"),
        ("su", "privilege"),
        ("curl x", "network"),
        ("ssh h ls", "network"),
        ("vim f", "opaque"),
        ("less f", "opaque"),
        ("psql", "opaque"),
        ("python3 x", "opaque"),
        ("/tmp/x", "outside_path"),
        ("./x", "outside_path"),
        ("../bin/ls", "outside_path"),
        ("/usr/bin/../x/ls", "outside_path"),
        ("python3 x.py", "script_file"),
        ("python3", "code_from_stdin"),
        ("python3 -c x", "dynamic_code"),
        ("python3.11 -c x", "dynamic_code"),
        ("perl -e x", "dynamic_code"),
        ("make", "script_file"),
        ("vim '+!x' f", "dynamic_code"),
        ("vim -c x", "dynamic_code"),
        ("tar --checkpoint-action=exec=x cf a b", "dynamic_code"),
        ("tar cf a *", "dynamic_code"),
        ('tar cf a "$x"', "dynamic_code"),
        ("x | psql", "code_from_stdin"),
        ("mysql < f", "code_from_stdin"),
        ("ls *", "glob"),
        ("$x", "dynamic_command"),
        ("/bin/r?", "dynamic_command"),
        ("~/x", "dynamic_command"),
        ("''", "dynamic_command"),
        ("exec < f; psql", "code_from_stdin"),
    ],
)
def test_flags(line: str, flag: str) -> None:
    assert flag in classify(line).flags


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("ls x", "glob"),
        ("x | less", "code_from_stdin"),
        ("vim +5 f", "dynamic_code"),
        ('tar cf a "./$x"', "dynamic_code"),
        ("python3 --version", "opaque"),
        ("make --version", "script_file"),
        ("ls | sort", "code_from_stdin"),
        ("/usr/local/bin/ls", "outside_path"),
    ],
)
def test_flags_that_are_not_set(line: str, flag: str) -> None:
    assert flag not in classify(line).flags


def test_versions_and_loaders_are_what_they_are() -> None:
    assert {"python3.11", "python"} <= classify("python3.11 x").verbs
    assert "rm" in classify("/lib64/ld-linux-x86-64.so.2 /bin/rm x").verbs
