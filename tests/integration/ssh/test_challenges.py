"""The challenges of the guards of bash and zsh: never ones that somebody could know before. (For fish: test_fish_challenge.)

A verdict answers a challenge. Whoever knows the next one types its answer ahead, and the guard finds it there.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from agent.core.shell.guard.boot import GUARDS

SHELLS = {"bash": ["bash", "--norc", "-c"], "zsh": ["zsh", "-f", "-c"]}
SAYS = {"bash": 'LC_ALL=C; __sp_dice && printf %s "$__sp_c"', "zsh": '__sp_dice && printf %s "$c"'}


def thrown(shell: str, locale: str, source: str = "/dev/urandom") -> str:
    text = GUARDS[shell].guard("0" * 16, login=False)
    begin = text.index("__sp_dice() {")
    dice = text[begin : text.index("\n}\n", begin) + 3].replace("/dev/urandom", source)
    command = [*SHELLS[shell], f"{dice}{SAYS[shell]}"]
    return subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", "LC_ALL": locale}, capture_output=True, text=True, check=False
    ).stdout


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("shell", SHELLS)
def test_no_two_are_alike(shell: str, locale: str) -> None:
    said = [thrown(shell, locale) for _ in range(3)]
    assert len(set(said)) == 3
    for each in said:
        # In small letters, which no terminal makes others.
        assert re.fullmatch(r"(\.[0-9a-f]+){12}|([0-9a-f]+\.){12}", each)
        assert len(set(re.findall("[0-9a-f]+", each))) > 1


@pytest.mark.parametrize("shell", SHELLS)
def test_each_byte_counts(shell: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("bytes") / "known"
    file.write_bytes(bytes(range(0x61, 0x6D)))
    numbers = [int(each, 16) for each in re.findall("[0-9A-Fa-f]+", thrown(shell, "C", str(file)))]
    assert numbers == [*range(0x61, 0x6D)]


@pytest.mark.parametrize("shell", SHELLS)
def test_without_any_chance_nothing_is_asked(shell: str) -> None:
    assert thrown(shell, "C", "/dev/null") == ""
