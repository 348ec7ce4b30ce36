"""What is typed without being shown is in no recording: by whatever asks for it, in every mode and every shell."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.ssh.conftest import USER, FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import PERMIT
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

#: What a recorded shell is asked for first: the account's own is bash.
BECOMES = {
    "bash": "exec env PS1='ready''> ' bash --norc",
    "zsh": "exec env PS1='ready''> ' zsh -f",
    "fish": 'exec fish --no-config --init-command \'function fish_prompt; echo -n "ready""> "; end\'',
}
POSIX = {
    "stty": "stty -echo; printf 'word%s ' '?'; read -r w; stty echo; echo ${#w}-le''tters",
    "getpass": """python3 -c "import getpass; print(len(getpass.getpass('word' + '? ')), 'letters', sep='-')" """,
    "cat": "stty -echo; printf 'word%s ' '?'; head -n 1 | tr -d '\\n' | wc -c | sed s/$/-letters/; stty echo",
    "ssh": "ssh -p {port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o NumberOfPasswordPrompts=1 "
    "-o PubkeyAuthentication=no {user}@127.0.0.1 true; echo 12-le''tters",
}
SILENT = {
    "bash": "read -s -p 'word''? ' w; echo ${#w}-le''tters",
    "zsh": "read -s 'w?word''? '; echo ${#w}-le''tters",
    "fish": "read -s -P 'word''? ' w; echo (string length $w)-le''tters",
}
FISH = {
    "stty": "stty -echo; printf 'word%s ' '?'; head -n 1 | read w; stty echo; echo (string length $w)-le''tters",
    "getpass": POSIX["getpass"],
    "ssh": POSIX["ssh"],
}
ROWS = [
    *((mode, shell) for mode in ("guarded", "recorded") for shell in ("bash", "zsh", "fish")),
    ("locked", "dash"),
    ("locked", "bash"),
]


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A machine that asks for passwords."""
    server = Sshd(tmp_path_factory.mktemp("asking"), config=["Match all", "PasswordAuthentication yes"])
    yield server
    server.stop()


async def recorded_of(
    person: Callable[[pexpect.spawn], None], identity: FakeIdentity, folder: Path, mode: str, shell: str
) -> bytes:
    """What is recorded of a ``person`` at the terminal of an account with ``shell``."""
    target = folder / "target"
    target.mkdir()
    sshd = Sshd(target, shell=shutil.which(shell))
    (sshd.home / ".zshrc").write_text("")
    gate = Gateway(identity, folder)
    serving = gate.serving = serving_for(sshd, PERMIT, shell=mode)
    await gate.listen()
    try:
        await at_terminal(gate.ssh(), person, (40, 160))
        await gate.idle()
    finally:
        await gate.close()
        sshd.stop()
    return b"".join(serving.recorder.written.values())


@pytest.mark.parametrize(("mode", "shell"), ROWS)
async def test_what_does_not_echo_is_recorded_nowhere(
    identity: FakeIdentity, tmp_path: Path, asking: Sshd, mode: str, shell: str
) -> None:
    ways = (FISH if shell == "fish" else POSIX) | ({"read -s": SILENT[shell]} if shell in SILENT and mode != "locked" else {})

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect_exact("sallyport: ")
        if mode == "recorded":
            child.send(f"{BECOMES[shell]}\r")
            child.expect_exact("ready> ")
        for number, line in enumerate(ways.values()):
            child.send(line.replace("{port}", str(asking.port)).replace("{user}", USER) + "\r")
            child.expect([r"word\? ", r"password: "])
            child.send(f"hunter2-{number:04d}\r")
            child.expect(r"12-letters\r\n")
        child.send("exit\r")

    recorded = await recorded_of(person, identity, tmp_path, mode, shell)
    assert b"letters" in recorded
    assert b"hunter2" not in recorded


#: Said by a shell, or by the gateway for one, that reads a line now.
EDITS = "\x1b[?2004h"
#: Lines that ask, and take what was typed before they did; there are programs that drop it (getpass, ssh).
TAKES_AHEAD = {
    "bash": [POSIX["stty"], POSIX["cat"], SILENT["bash"]],
    "zsh": [POSIX["stty"], POSIX["cat"], SILENT["zsh"]],
    "dash": [POSIX["stty"], POSIX["cat"]],
}


@pytest.mark.parametrize(("mode", "shell"), [("guarded", "bash"), ("guarded", "zsh"), ("locked", "dash")])
async def test_an_answer_that_comes_with_its_line_is_seen_nowhere(
    identity: FakeIdentity, tmp_path: Path, mode: str, shell: str
) -> None:
    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect_exact("sallyport: ")
        for line in TAKES_AHEAD[shell]:
            child.expect_exact(EDITS)
            # The next line as well: it is not the program's, and none of it is lost.
            child.send(f"{line}\rhunter2-0004\recho ne''xt\r")
            child.expect(r"12-letters\r\n")
            child.expect(r"next\r\n")
        child.expect_exact(EDITS)
        child.send("exit\r")

    recorded = await recorded_of(person, identity, tmp_path, mode, shell)
    assert b"letters" in recorded
    assert b"hunter2" not in recorded
