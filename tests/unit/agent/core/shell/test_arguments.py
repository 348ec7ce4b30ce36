"""Programs that change by operand or option."""

import pytest

from agent.core.shell import classify


@pytest.mark.parametrize(
    ("line", "effects"),
    [
        ("tar tzf a", {"read"}),
        ("tar -tf a", {"read"}),
        ("tar xf a", {"write"}),
        ("tar czf a b", {"write"}),
        ("date", {"read"}),
        ("date +%F", {"read"}),
        ("date -Iseconds", {"read"}),
        ("date -d '1 hour ago' +%s", {"read"}),
        ("date -s 1", {"read", "admin"}),
        ("date 01020304", {"read", "admin"}),
        ("hostname", {"read"}),
        ("hostname x", {"read", "admin"}),
        ("sysctl -a", {"read"}),
        ("sysctl a=b", {"read", "admin"}),
        ("uniq a", {"read"}),
        ("uniq a b", {"read", "write"}),
        ("sort f", {"read"}),
        ("sort -o f f", {"read", "write"}),
        ("sort $x", {"read", "write", "unknown"}),
        ("curl -s u", {"read"}),
        ("curl -X GET u", {"read"}),
        ("curl -XPOST u", {"read", "write"}),
        ("curl -so f u", {"read", "write"}),
        ("curl -so /dev/null u", {"read"}),
        ("curl -d a u", {"read", "write"}),
        ("curl --data-binary @f u", {"read", "write"}),
        ("curl -K f", {"read", "unknown"}),
        ("mount", {"read"}),
        ("mount /dev/a /b", {"admin"}),
        ("mount -t fuse x#y /b", {"admin", "unknown"}),
        ("iptables -L -n", {"read"}),
        ("iptables -F", {"admin"}),
        ("iptables --modprobe=x -L", {"admin", "unknown"}),
        ("kill -l", {"read"}),
        ("kill 1", {"admin"}),
        ("gzip -l f", {"read"}),
        ("gzip f", {"write"}),
        ("top -b -n1", {"read"}),
        ("top", {"read", "execute", "admin"}),
        ("dmesg", {"read"}),
        ("dmesg -C", {"read", "admin"}),
        ("insmod x.ko", {"admin", "unknown"}),
        ("logrotate /etc/logrotate.conf", {"admin"}),
        ("logrotate /tmp/x", {"admin", "unknown"}),
        ("rsync -avze ssh a h:", {"read", "write"}),
        ("rsync -e 'ssh -p 2222' a h:", {"read", "write"}),
        ("rsync -e 'sh x' a h:", {"read", "write", "unknown"}),
        ("sysctl -w kernel.core_pattern='|/x'", {"read", "admin", "unknown"}),
        ("openssl x509 -in c", {"read"}),
        ("openssl x509 -in c -out d", {"read", "write"}),
        ("socat - TCP:h:1", {"read", "write", "execute"}),
        ("socat - EXEC:rm", {"read", "write", "execute", "unknown"}),
    ],
)
def test_effects(line: str, effects: set[str]) -> None:
    assert classify(line).effects == effects


def test_taking_an_effect_back_does_not_reach_other_commands() -> None:
    for line in ["rm x; gzip -l f", "rm x; tar tf a", "rm x && git branch -a"]:
        assert "write" in classify(line).effects, line
    assert "admin" in classify("reboot; mount").effects
    assert "opaque" in classify("vim f; top -b").flags


@pytest.mark.parametrize(
    ("line", "objects"),
    [
        ("cat /etc/passwd x", {"/etc/passwd", "x"}),
        ("rm -f -- -x", {"-x"}),
        ("echo a/b /c", {"/c"}),
        ("ls > /tmp/o", {"/tmp/o"}),
        ("cat < ~/i", {"~/i"}),
        ("dd if=/a of=/b", {"/a", "/b"}),
        ("curl https://u:p@h.example:8/x?y", {"https://u:p@h.example:8/x?y", "h.example"}),
        ("tar --file=/a", {"/a"}),
        ("sh -c 'rm /x'", {"/x"}),
        ("/bin/ls", {"/bin/ls"}),
    ],
)
def test_objects_are_what_is_literally_named(line: str, objects: set[str]) -> None:
    assert objects <= classify(line).objects


@pytest.mark.parametrize(
    "line",
    [
        "dd if=x of=/dev/sda",
        "cat x > /dev/sda",
        "> /dev/nvme0n1",
        "tee /dev/sdb",
        "cp x /dev//sda",
        "wipefs /dev/sda",
        "mkfs.ext4 /dev/sda1",
        "x > /./dev/./sda",
    ],
)
def test_devices_written_are_flagged(line: str) -> None:
    assert "writes_device" in classify(line).flags


@pytest.mark.parametrize(
    "line", ["ls > /dev/null", "dd if=/dev/sda of=x", "cat /dev/sda", "echo > /dev/tty", "ls 2> /dev/stderr"]
)
def test_devices_read_are_not(line: str) -> None:
    assert "writes_device" not in classify(line).flags


def test_bash_network_redirections_are_network() -> None:
    assert "network" in classify("cat < /dev/tcp/h/80").flags
    assert "network" in classify("exec 3<>/dev/tcp/h/80").flags or "parse_error" in classify("exec 3<>/dev/tcp/h/80").flags
