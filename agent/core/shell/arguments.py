"""Programs whose arguments decide what they do: sed and awk scripts, dd, tar, curl, and a few that change by operand."""

from __future__ import annotations

import re
from collections.abc import Callable

from agent.core.shell.multiplexers import screen, tmux
from agent.core.shell.options import Spec, has_option, leading, operands
from agent.core.shell.reading import Reading
from agent.core.shell.scripts import awk, sed
from agent.core.shell.words import Word

Checker = Callable[[Reading, str, list[Word]], None]


def note_path(reading: Reading, text: str, *, writes: bool) -> None:
    """Name an object; URLs also by their host."""
    reading.path(text, writes=writes)
    match = re.match(r"[a-zA-Z][\w+.-]*://(?:[^/@]*@)?([^/:?#]+)", text)
    if match:
        reading.objects.add(match[1])


def tar(reading: Reading, program: str, words: list[Word]) -> None:
    """tar: t lists; the first word may be a cluster without a dash, in which I and F also name programs."""
    first = words[0].text if words else None
    letters = first if first and not first.startswith("--") else ""
    if letters and not letters.startswith("-") and re.search(r"[IF]", letters):
        reading.flags.add("dynamic_code")
    lists = "t" in letters or any(word.text == "--list" for word in words)
    if lists and not re.search(r"[xcruAd]", letters):
        reading.effects.discard("write")
        reading.effects.add("read")


def dd(reading: Reading, program: str, words: list[Word]) -> None:
    """dd without of= writes to standard output only, but keeps the effect: its input may be a device."""
    for word in words:
        if word.text is None and not word.prefix.startswith(("if=", "bs=", "count=")):
            reading.objects.add("of=?")


def sysctl(reading: Reading, program: str, words: list[Word]) -> None:
    """sysctl name=value sets."""
    if any("=" in (word.text or word.prefix or "=") for word in operands(words)):
        reading.effects.add("admin")
    if any(re.search(r"core_pattern|modprobe|hotplug|poweroff_cmd|\|", word.text or word.prefix) for word in words):
        reading.flags.add("dynamic_code")  # the kernel runs what these name


def date(reading: Reading, program: str, words: list[Word]) -> None:
    """date prints, unless -s or an operand without a plus sets the clock."""
    at = 0
    while at < len(words):
        text = words[at].text if words[at].text is not None else words[at].prefix
        text = text or ""
        if text in {"-d", "-f", "-r", "--date", "--file", "--reference"}:
            at += 1
        elif re.match(r"-[uR]*s|--s", text) or not text.startswith(("+", "-")):
            reading.effects.add("admin")
        at += 1


_FETCHING = frozenset({"GET", "HEAD", "OPTIONS"})


def curl(reading: Reading, program: str, words: list[Word]) -> None:
    """curl: a method other than fetching sends; -o writes a file, unless it is /dev/null."""
    for at, word in enumerate(words):
        text = word.text or word.prefix
        value = words[at + 1].text if at + 1 < len(words) else None
        if (
            (re.fullmatch(r"-[a-zA-Z#]*X|--req\w*", text) and value not in _FETCHING)
            or (re.fullmatch(r"-[a-zA-Z#]*o|--outp\w*", text) and value not in {"/dev/null", "-"})
            or (
                re.match(r"-[a-zA-Z#]*[Xo].|--(?:req|outp)\w*=", text)
                and not re.search(r"(?:GET|HEAD|[X=]OPTIONS|/dev/null|o-)$", text)
            )
            or "%output" in text
        ):
            reading.effects.add("write")


def top(reading: Reading, program: str, words: list[Word]) -> None:
    """top -b prints and ends; on a terminal it also kills and renices."""
    if has_option(words[:1], "b", ("batch",)):
        reading.effects = {"read"}
        reading.flags.discard("opaque")
    else:
        reading.effects.add("admin")


def takes_no_operand(reading: Reading, program: str, words: list[Word]) -> None:
    """`hostname name` sets it; so does `date 01020304`, while `date +%F` only prints."""
    for word in operands(words):
        text = word.prefix if word.text is None else word.text
        if not text.startswith("+"):
            reading.effects.add("admin")


def second_operand_is_output(reading: Reading, program: str, words: list[Word]) -> None:
    """uniq IN OUT and xxd IN OUT."""
    if len(operands(words)) > 1:
        reading.effects.add("write")


def socat(reading: Reading, program: str, words: list[Word]) -> None:
    """socat addresses may be programs: EXEC, SYSTEM, SHELL."""
    for word in words:
        if word.text is None or re.search(r"exec|system|shell|script", word.text, re.IGNORECASE):
            reading.flags.add("dynamic_code")


def openssl(reading: Reading, program: str, words: list[Word]) -> None:
    """openssl: -out writes; engines and providers are loaded code; other subcommands than the plain ones are unknown."""
    texts = [word.text or "" for word in words]
    if any(text.startswith(("-out", "-keyout", "-writerand", "-CAserial", "-CAcreateserial")) for text in texts):
        reading.effects.add("write")
    if any(
        text.startswith(("-engine", "-provider", "-config", "-pre_proc")) or word.text is None
        for word, text in zip(words, texts, strict=True)
    ):
        reading.flags.add("dynamic_code")
    known = "x509 s_client req verify dgst version rsa ec pkey crl ocsp ciphers rand enc asn1parse pkcs12 list base64"
    if not texts or texts[0] not in known.split():
        reading.effects.add("unknown")
    if texts[:1] == ["s_client"]:
        reading.flags.add("network")


def compressor(reading: Reading, program: str, words: list[Word]) -> None:
    """gzip -c, -l and -t leave files alone."""
    if words and has_option(words[:1], "clt", ("stdout", "to-stdout", "list", "test")):
        reading.effects.discard("write")
        reading.effects.add("read")


def listing_only(reading: Reading, program: str, words: list[Word]) -> None:
    """`mount`, `swapon --show`, `iptables -L`, `route -n`, `arp -n`, `kill -l`, `ifconfig`, `fdisk -l` only show."""
    texts = [word.text for word in words]
    quiet = not texts or all(text in _LISTING[program] for text in texts)
    if program in {"iptables", "ip6tables", "nft"} and texts and None not in texts:
        quiet = quiet or bool(
            re.fullmatch(
                r"(?:-t (?:nat|filter|mangle|raw) )?(?:-[nvL]+|--list|-S|list ruleset)(?: (?:-[nvx]+|--line-numbers|[A-Z]+))*",
                " ".join(text or "" for text in texts),
            )
        )
    if program in {"kill", "iptables", "ip6tables", "nft", "parted", "fdisk", "gdisk"} and not texts:
        quiet = False
    if quiet:
        reading.effects.discard("admin")
        reading.effects.add("read")


_LISTING: dict[str, frozenset[str]] = {
    "mount": frozenset({"-l"}),
    "swapon": frozenset({"--show", "-s"}),
    "iptables": frozenset(),
    "ip6tables": frozenset(),
    "nft": frozenset(),
    "route": frozenset({"-n", "-e", "-ee"}),
    "arp": frozenset({"-n", "-a", "-an", "-e"}),
    "ifconfig": frozenset({"-a", "-s"}),
    "kill": frozenset({"-l", "-L"}),
    "runlevel": frozenset(),
    "losetup": frozenset({"-a", "-l"}),
    "ufw": frozenset({"status", "verbose", "numbered"}),
}


def sqlite(reading: Reading, program: str, words: list[Word]) -> None:
    """sqlite3 takes SQL and dot-commands (`.shell`) after the database."""
    if len(operands(words)) > 1:
        reading.flags.add("dynamic_code")


def pages(reading: Reading, program: str, words: list[Word]) -> None:
    """dpkg-query and nmcli show what they list in a pager, where there is a terminal."""
    reading.flags.add("pager")


def dmesg(reading: Reading, program: str, words: list[Word]) -> None:
    """dmesg --human opens a pager."""
    if has_option(words, "H", ("human",)):
        reading.flags.add("pager")


def tput(reading: Reading, program: str, words: list[Word]) -> None:
    """`tput init` and `tput reset` run the program that the terminal's description names (iprog), and anybody can write one."""
    parsed = leading(words, Spec("T", "xV"))
    if not parsed.sure or (parsed.rest and parsed.rest[0].text in {None, "init", "reset"}):
        reading.flags.add("script_file")


def mount(reading: Reading, program: str, words: list[Word]) -> None:
    """mount -t fuse runs the program named before `#`; a helper may be chosen by any type."""
    if any((word.text is None and word.splits) or "fuse" in (word.text or "") or "#" in (word.text or "") for word in words):
        reading.flags.add("dynamic_code")
    listing_only(reading, program, words)


def loads_file(reading: Reading, program: str, words: list[Word]) -> None:
    """insmod and kexec put the content of a file into the kernel; logrotate's configuration holds scripts."""
    plain = [word.text or "" for word in operands(words)]
    if program != "logrotate" or any(not path.startswith("/etc/") or ".." in path for path in plain) or has_option(words, "slm"):
        reading.flags.add("script_file")


def beside_plain_ssh(program: str, words: list[Word]) -> list[Word]:
    """rsync's words without `-e ssh`, the one remote shell that is no escape."""
    if program != "rsync":
        return words
    kept: list[Word] = []
    for at, word in enumerate(words):
        following = words[at + 1].text if at + 1 < len(words) else None
        if re.fullmatch(r"-[a-zA-Z]*e", word.text or "") and re.fullmatch(r"ssh(?: -p ?\d+)?", following or ""):
            continue
        kept.append(word)
    return kept


CHECKERS: dict[str, Checker] = {
    "sed": sed,
    "awk": awk,
    "gawk": awk,
    "mawk": awk,
    "nawk": awk,
    "original-awk": awk,
    "tar": tar,
    "dd": dd,
    "sysctl": sysctl,
    "hostname": takes_no_operand,
    "date": date,
    "curl": curl,
    "top": top,
    "uniq": second_operand_is_output,
    "xxd": second_operand_is_output,
    "socat": socat,
    "openssl": openssl,
    "sqlite3": sqlite,
    "tmux": tmux,
    "byobu": tmux,
    "screen": screen,
    "dpkg-query": pages,
    "nmcli": pages,
    "dmesg": dmesg,
    "tput": tput,
    "gzip": compressor,
    "bzip2": compressor,
    "xz": compressor,
    "zstd": compressor,
    "gunzip": compressor,
    "unzip": compressor,
    **dict.fromkeys(_LISTING, listing_only),
    "mount": mount,
    "insmod": loads_file,
    "kexec": loads_file,
    "logrotate": loads_file,
}
