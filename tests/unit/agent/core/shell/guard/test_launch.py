"""Which lines start a shell that can be guarded, and what runs instead of them."""

import subprocess

import pytest

from agent.core.shell.classify import classify
from agent.core.shell.guard.boot import BOOT, code, quoted
from agent.core.shell.guard.launch import launch, settled

BASH = f"sh -c {quoted(code('bash'))}"
OWN = f"sh -c {quoted(code())}"


@pytest.mark.parametrize(
    ("line", "text", "login"),
    [
        ("bash", f"command {BASH}", False),
        ("  /bin/bash  -i ", f"command {BASH}", False),
        ("bash -l", f"command {BASH}", True),
        ("exec bash", f"exec {BASH}", False),
        ("exec sudo -i", f"exec sudo -i {OWN}", True),
        ("command bash", f"command {BASH}", False),
        ("fish", f"command sh -c {quoted(code('fish'))}", False),
        ("zsh --login", f"command sh -c {quoted(code('zsh'))}", True),
        ("env -i TERM=xterm bash", f"command env -i TERM=xterm {BASH}", False),
        ("env - bash", f"command env - {BASH}", False),
        ("sudo -i", f"command sudo -i {OWN}", True),
        ("sudo -u bob -s", f"command sudo -u bob -s {OWN}", False),
        ("sudo -nu bob bash -l", f"command sudo -nu bob {BASH}", True),
        ("sudo su -", f"command sudo su -c {quoted(BOOT)} -", True),
        ("su", f"command su -c {quoted(BOOT)}", False),
        ("su - bob", f"command su --session-command {quoted(BOOT)} - bob", True),
        ("docker exec -it web bash", f"command docker exec -it web {BASH}", False),
        ("docker exec -i -t -u root web /bin/bash", f"command docker exec -i -t -u root web {BASH}", False),
        ("kubectl exec -n prod -it web -c app -- bash", f"command kubectl exec -n prod -it web -c app -- {BASH}", False),
        ("ssh -p 22 bob@db", f"command ssh -t -e none -p 22 bob@db {quoted(BOOT)}", True),
        ("ssh -o Port=22 db", f"command ssh -t -e none -o Port=22 db {quoted(BOOT)}", True),
    ],
)
def test_it_starts_and_reports(line: str, text: str, login: bool) -> None:
    found = launch(line)
    assert found is not None
    assert (found.text, found.login, found.replaces) == (text, login, line.startswith("exec"))
    meaning = settled(classify(line), found)
    assert meaning is not None
    assert "unknown" not in meaning.effects
    assert "execute" in meaning.effects
    assert "opaque" not in meaning.flags
    assert meaning.verbs == classify(line).verbs


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ls",
        "sh",
        "dash",
        "busybox sh",
        "python3",
        "bash x.sh",
        "bash -c ls",
        "bash -x",
        "bash --norc",
        "bash --rcfile x",
        "bash -i -c ls",
        "bash &",
        "bash; ls",
        "bash | cat",
        "bash < x",
        "(bash)",
        "! bash",
        "time bash",
        "A=1 bash",
        "'bash'",
        "\\bash",
        "$SHELL",
        "./bash",
        "/tmp/bash",
        "~/bin/bash",
        "=bash",
        "bash\nls",
        "nohup bash",
        "setsid bash",
        "timeout 5 bash",
        "script -c bash",
        "exec",
        "command",
        "command -v bash",
        "exec -a x bash",
        "env",
        "env -S bash",
        "sudo",
        "sudo -l",
        "sudo -b bash",
        "sudo -i ls",
        "sudo -i bash",
        "sudo -e x",
        "sudo A=1 bash",
        "su -c ls",
        "su -s /bin/zsh bob",
        "su bob -c ls",
        "docker exec web bash",
        "docker exec -i web bash",
        "docker exec -itd web bash",
        "docker exec -it web sh",
        "docker exec -it web",
        "docker run -it web bash",
        "kubectl exec -it web bash",
        "kubectl exec web -- bash",
        "kubectl exec -it web -- sh",
        "ssh db ls",
        "ssh -N db",
        "ssh -T db",
        "ssh -L 1:a:2 db",
        "ssh -o ProxyCommand=x db",
        "ssh -F x db",
        "ssh",
    ],
)
def test_other_lines_are_only_lines(line: str) -> None:
    assert launch(line) is None


@pytest.mark.parametrize("line", ["env PATH=/tmp bash", "env BASH_ENV=x bash", "env HOME=/tmp bash", "env LD_PRELOAD=x sudo -i"])
def test_what_changes_the_new_shell_stays_unknown(line: str) -> None:
    found = launch(line)
    assert found is not None
    assert settled(classify(line), found) is None


def test_quotes_are_what_a_shell_reads() -> None:
    text = "a 'b' $c \"d\" \\e"
    assert subprocess.run(["sh", "-c", f"printf %s {quoted(text)}"], capture_output=True, check=True).stdout == text.encode()


def test_sudo_leaves_the_first_half_as_it_is() -> None:
    # What `sudo -i` gives to a login shell: a backslash before everything but letters, digits, `_`, `-` and `$`.
    escaped = "".join(c if c.isalnum() or c in "_-$" else "\\" + c for c in code())
    assert subprocess.run(["bash", "-c", f"printf %s {escaped}"], capture_output=True, check=True).stdout == code().encode()


@pytest.mark.parametrize("word", ["sudo", "env", "env -i", "docker exec -it x", "sudo -u bob"])
def test_starters_without_end_are_only_a_line(word: str) -> None:
    assert launch(f"{word} " * 10_000 + "bash") is None
    assert launch(f"{word} " * 4 + "bash") is not None or word.startswith("docker")
