"""Programs that start other programs: the inner command is found, or the line is unknown."""

import pytest

from agent.core.shell import UNKNOWN_FLAGS, classify


@pytest.mark.parametrize(
    "prefix",
    [
        "sudo",
        "sudo -n -u root --",
        "sudo -E A=1",
        "sudo A=1 -u root B=2 -n --",
        "doas -u bob",
        "pkexec",
        "env",
        "env -i A=1",
        "env -u A",
        "env -",
        "nohup",
        "timeout 5",
        "timeout -k 1 -s KILL 5",
        "nice",
        "nice -n 5",
        "nice -5",
        "ionice -c3",
        "setsid -f",
        "stdbuf -oL",
        "chroot /x",
        "unshare -m",
        "xargs",
        "xargs -0 -n1",
        "time",
        "time -p",
        "time !",
        "time A=1",
        "time -p ! A=1 B=2",
        "command",
        "command -p",
        "builtin command",
        "exec",
        "exec -a rm",
        "busybox",
        "toybox",
        "strace -f -o /tmp/t",
        "taskset 1",
        "flock /l",
        "flock -n /l",
        "watch",
        "watch -n 1",
        "ssh h",
        "ssh -p 22 -t u@h",
        "systemd-run --scope",
        "systemd-run -t",
        "systemd-run -u name -PG",
        "runuser -u bob --",
        "parallel",
        "sudo env nice timeout 5",
        "docker exec -it c",
        "kubectl exec p --",
        "ip netns exec n",
        "find . -exec",
        "setarch x86_64",
        "nsenter -t 1 -m",
        "numactl -l",
    ],
)
def test_the_inner_command_is_found(prefix: str) -> None:
    found = classify(f"{prefix} rm -r /srv/a")
    assert "rm" in found.verbs
    assert "write" in found.effects
    assert "recursive_delete" in found.flags
    assert not found.flags & UNKNOWN_FLAGS


@pytest.mark.parametrize(
    "prefix",
    [
        "sudo --unheard-of",
        "sudo -Z",
        "sudo $x",
        "env -Q",
        "timeout $x",
        "nice $(x)",
        "xargs --re {}",
        "docker exec $x",
        "env -S '$x'",
    ],
)
def test_an_option_we_do_not_know_makes_the_command_uncertain(prefix: str) -> None:
    assert "dynamic_command" in classify(f"{prefix} ls x").flags


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("sudo -i", "code_from_stdin"),
        ("sudo su -", "code_from_stdin"),
        ("su", "code_from_stdin"),
        ("chroot /x", "code_from_stdin"),
        ("ssh h", "code_from_stdin"),
        ("script f", "code_from_stdin"),
        ("crontab -", "code_from_stdin"),
        ("crontab f", "script_file"),
        ("at now", "code_from_stdin"),
        ("at -f f now", "script_file"),
        ("batch", "code_from_stdin"),
        ("xargs sh -c", "dynamic_code"),
        ("xargs env", "dynamic_command"),
        ("xargs -I{} sh -c 'rm {}'", "dynamic_code"),
        ("parallel ::: ls", "dynamic_code"),
        ("strace -o '|x' ls", "dynamic_code"),
        ("ssh -o ProxyCommand=x h ls", "dynamic_code"),
        ("ssh h -o ProxyCommand=x ls", "dynamic_code"),
        ("su -s /tmp/x bob -c ls", "dynamic_code"),
        ("docker run x ls", "dynamic_code"),
        ("env LD_PRELOAD=x ls", "tamper"),
        ("sudo PATH=/tmp ls", "tamper"),
        ("coproc ls", "dynamic_command"),
        ("find . $x", "dynamic_code"),
        ("find . -exec $x {} +", "dynamic_command"),
        ("find . -exec sh -c 'rm {}' +", "dynamic_code"),
    ],
)
def test_what_cannot_be_seen_is_flagged(line: str, flag: str) -> None:
    assert flag in classify(line).flags


@pytest.mark.parametrize(
    "line", ["crontab -l", "at -l", "atq", "command -v rm", "sudo -l", "sudo -v", "env", "xargs", "ssh -N h", "busybox --list"]
)
def test_asking_is_reading(line: str) -> None:
    found = classify(line)
    assert "unknown" not in found.effects
    assert "rm" not in found.verbs


@pytest.mark.parametrize(
    "line",
    [
        "find . -delete",
        "find . -exec rm {} +",
        "find . -execdir /bin/rm {} \\;",
        "rm -rf x",
        "rm -fr x",
        "rm -r -f x",
        "rm -R x",
        "rm --recursive x",
        "rm --rec x",
        "rm x -r",
        "sudo rm -rf x",
        "busybox rm -r x",
        "rm $o x",
        'rm "$o" x',
        "rm -f$o x",
        "rm x $(cat list)",
        "rm -f{r,} x",
        "rm $dir/x",
        'rm "$o-v"',
        "rm *",
        "rm -- x; rm ?[a-z]*",
        "rm *v",
        "ls | xargs rm",
        "sudo rm -f ${o:+-r} x",
        'for f in a b; do rm "$f"; done',
    ],
)
def test_recursive_delete_in_any_spelling(line: str) -> None:
    assert "recursive_delete" in classify(line).flags


@pytest.mark.parametrize(
    "line",
    [
        "rm x",
        "rm -f x",
        "rm -- -r",
        "find . -name x",
        "ls -R",
        "rm -i r",
        'rm -- "$f"',
        "rm -- *",
        'rm "$dir/x"',
        'rm "$name.log"',
        'rm "/srv/$f" ./"$f"',
        "rm *.log",
        "rm ./*",
        "rm [0-9]*",
        "rm a-$(date +%s)",
        "f=a; rm $f",
        "ls | xargs rm --",
    ],
)
def test_other_deletes_are_not_recursive(line: str) -> None:
    assert "recursive_delete" not in classify(line).flags


def test_find_writes_where_it_says() -> None:
    assert classify("find . -fprintf /x %p").effects == {"read", "write"}
    assert "/x" in classify("find . -fprint /x").objects


def test_what_time_assigns_is_the_shells_own_variable() -> None:
    assert "dynamic_command" in classify("v=ls; time v=rm; $v /srv/a").flags
    assert "ls" in classify("v=ls; time w=rm; $v /srv/a").verbs
