"""Programs whose arguments decide what they do: sed and awk scripts, dd, tar, curl, and a few that change by operand."""

from __future__ import annotations

import re
from collections.abc import Callable

from agent.core.shell.options import has_option, operands
from agent.core.shell.reading import Reading
from agent.core.shell.words import Word

Checker = Callable[[Reading, str, list[Word]], None]


def note_path(reading: Reading, text: str, *, writes: bool) -> None:
    """Name an object; URLs also by their host."""
    reading.path(text, writes=writes)
    match = re.match(r"[a-zA-Z][\w+.-]*://(?:[^/@]*@)?([^/:?#]+)", text)
    if match:
        reading.objects.add(match[1])


# -- sed ---------------------------------------------------------------------------------------------------------------

_SED_ADDRESS = re.compile(r"(?:\d+(?:~\d+)?|\$|/(?:\\.|\[[^\]]*\]|[^/\\\[\n])*/[IM]*|\+\d+|~\d+)")
_SED_FLAGS = re.compile(r"[gpiImM0-9]*")
_SED_LINE = re.compile(r"[^\n]*")


def sed(reading: Reading, program: str, words: list[Word]) -> None:
    """sed: recognise the commands that only edit text; `e` runs a program, `w` writes a file (GNU sed manual, 3.2, 3.8)."""
    if has_option(words, "f", ("file",)) and any((word.text or "")[:1] == "-" and re.match(
        r"-[nErszui]*f|--fi", word.text or "") for word in words):  # fmt: skip
        reading.flags.add("script_file")
    scripts = _sed_scripts(words)
    if any(word.text is None and word.may_be_option and not word.inert for word in words):
        reading.flags.add("dynamic_code")
    for script in scripts:
        verdict = "code" if script.text is None else sed_script(script.text)
        if verdict == "code":
            reading.flags.add("dynamic_code")
        elif verdict == "write":
            reading.effects.add("write")


def _sed_scripts(words: list[Word]) -> list[Word]:
    found: list[Word] = []
    plain: list[Word] = []
    at = 0
    while at < len(words):
        text = words[at].text if words[at].text is not None else words[at].prefix
        text = text or ""
        if re.fullmatch(r"-[nErszu]*e|--expression", text):
            found.extend(words[at + 1 : at + 2])
            at += 1
        elif re.match(r"-[nErszu]*e.", text) or text.startswith("--e"):
            value = text.partition("=")[2] if text.startswith("--") else text.split("e", 1)[1]
            found.append(Word(value if words[at].text is not None else None))
        elif not text.startswith("-") or text == "-":
            plain.append(words[at])
        at += 1
    return found or plain[:1]


def sed_script(script: str) -> str:
    """`safe`, `write` or `code`: what a sed script can do. What is not recognised is `code`."""
    at, verdict, size = 0, "safe", len(script)
    while at < size:
        if script[at] in " \t\n;{}":
            at += 1
            continue
        at = _sed_addresses(script, at)
        if at >= size:
            return "code"
        letter = script[at]
        at += 1
        if letter in "pdqQ=nNhHgGxDPlFz{}":
            if letter in "qQl":
                match = re.compile(r"\s*\d*").match(script, at)
                at = match.end() if match else at
            if letter not in "{}" and at < size and script[at] not in " \t\n;{}#":
                return "code"
        elif letter in "sy":
            at, writes = _sed_substitute(script, at, letter)
            if at < 0:
                return "code"
            verdict = "write" if writes else verdict
        elif letter in "btT:#aicrRwW":
            match = _SED_LINE.match(script, at)
            at = match.end() if match else size
            if letter in "wW":
                verdict = "write"
            if letter in "btT:" and ";" in (match.group() if match else ""):
                at = script.index(";", at - len(match.group()) if match else at)
            if letter in "aic" and match and match.group().endswith("\\"):
                return "code" if script.count("\n", at) > 1 else verdict
        else:
            return "code"
    return verdict


def _sed_addresses(script: str, at: int) -> int:
    for separator in (",", "!"):
        match = _SED_ADDRESS.match(script, at)
        if match and match.end() > at:
            at = match.end()
        if at < len(script) and script[at] == separator:
            at += 1
            match = _SED_ADDRESS.match(script, at)
            at = match.end() if match else at
    while at < len(script) and script[at] in " \t!":
        at += 1
    return at


def _sed_substitute(script: str, at: int, letter: str) -> tuple[int, bool]:
    if at >= len(script) or script[at] in "\\\n":
        return -1, False
    delimiter = script[at]
    at += 1
    for _ in range(2):
        while at < len(script) and script[at] != delimiter:
            at += 2 if script[at] == "\\" else 1
        if at >= len(script):
            return -1, False
        at += 1
    match = _SED_FLAGS.match(script, at)
    at = match.end() if match and letter == "s" else at
    if at < len(script) and script[at] == "w" and letter == "s":
        return len(script) if "\n" not in script[at:] else script.index("\n", at), True
    if at < len(script) and script[at] not in " \t\n;}#":
        return -1, False
    return at, False


# -- awk ---------------------------------------------------------------------------------------------------------------

_AWK_CODE = re.compile(r"system|getline|\|&|@|fflush\s*\(\s*\"|ENVIRON.*\||PROCINFO|extension", re.DOTALL)
_AWK_OPTIONS = re.compile(r"-F.*|-v.*|--field-separator.*|--assign.*|--|-[cCStOPr]|--posix|--re-interval|--sandbox")


def awk(reading: Reading, program: str, words: list[Word]) -> None:
    """awk: the program text may start others (system, pipes, getline) or write files (POSIX awk, "Output Statements")."""
    at = 0
    while at < len(words):
        text = words[at].text
        if text is None:
            if words[at].may_be_option:
                reading.flags.add("dynamic_code")
            break
        if not text.startswith("-"):
            break
        if not _AWK_OPTIONS.fullmatch(text):
            reading.flags.add("script_file" if text.startswith(("-f", "--file")) else "dynamic_code")
        at += 2 if text in {"-F", "-v", "--assign", "--field-separator"} else 1
        if text == "--":
            break
    if at >= len(words) or words[at].text is None:
        reading.flags.add("dynamic_code")
        return
    script = words[at].text or ""
    after = script.partition("print")[2]
    if _AWK_CODE.search(script) or "|" in after.replace("||", ""):
        reading.flags.add("dynamic_code")
    if ">" in after:
        reading.effects.add("write")


# -- the rest ------------------------------------------------------------------------------------------------------------


def tar(reading: Reading, program: str, words: list[Word]) -> None:
    """tar: t lists; the first word may be a cluster without a dash, in which I and F also name programs."""
    first = words[0].text if words else None
    letters = first if first and not first.startswith("--") else ""
    if letters and not letters.startswith("-") and re.search(r"[IF]", letters):
        reading.flags.add("dynamic_code")
    lists = "t" in letters or any(word.text == "--list" for word in words)
    if lists and not re.search(r"[xcruAd]", letters):
        reading.effects.discard("write") if reading.effects == {"write"} else None
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
        if re.fullmatch(r"-[a-zA-Z#]*X|--req\w*", text) and value not in _FETCHING:
            reading.effects.add("write")
        elif re.fullmatch(r"-[a-zA-Z#]*o|--outp\w*", text) and value not in {"/dev/null", "-"}:
            reading.effects.add("write")
        elif re.match(r"-[a-zA-Z#]*[Xo].|--(?:req|outp)\w*=", text) and not re.search(r"(?:GET|HEAD|[X=]OPTIONS|/dev/null|o-)$", text):
            reading.effects.add("write")
        elif "%output" in text:
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


_CURL_CODE = re.compile(r"(?:file|scp|sftp|dict|gopher|telnet)://", re.IGNORECASE)


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
    if words and has_option(words[:1], "clt", ("stdout", "to-stdout", "list", "test")) and reading.effects == {"write"}:
        reading.effects.discard("write")
        reading.effects.add("read")


def listing_only(reading: Reading, program: str, words: list[Word]) -> None:
    """`mount`, `swapon --show`, `iptables -L`, `route -n`, `arp -n`, `kill -l`, `ifconfig`, `fdisk -l` only show."""
    texts = [word.text for word in words]
    quiet = not texts or all(text in _LISTING[program] for text in texts)
    if program in {"iptables", "ip6tables", "nft"} and texts and None not in texts:
        quiet = quiet or bool(re.fullmatch(r"(?:-t (?:nat|filter|mangle|raw) )?(?:-[nvL]+|--list|-S|list ruleset)(?: (?:-[nvx]+|--line-numbers|[A-Z]+))*",
                                           " ".join(text or "" for text in texts)))  # fmt: skip
    if program in {"kill", "iptables", "ip6tables", "nft", "parted", "fdisk", "gdisk"} and not texts:
        quiet = False
    if quiet:
        reading.effects.discard("admin")
        reading.effects.add("read")


_LISTING: dict[str, frozenset[str]] = {
    "mount": frozenset({"-l"}),
    "swapon": frozenset({"--show", "-s"}),
    "iptables": frozenset(), "ip6tables": frozenset(), "nft": frozenset(),
    "route": frozenset({"-n", "-e", "-ee"}),
    "arp": frozenset({"-n", "-a", "-an", "-e"}),
    "ifconfig": frozenset({"-a", "-s"}),
    "kill": frozenset({"-l", "-L"}),
    "runlevel": frozenset(),
    "losetup": frozenset({"-a", "-l"}),
    "ufw": frozenset({"status", "verbose", "numbered"}),
}  # fmt: skip


def sqlite(reading: Reading, program: str, words: list[Word]) -> None:
    """sqlite3 takes SQL and dot-commands (`.shell`) after the database."""
    if len(operands(words)) > 1:
        reading.flags.add("dynamic_code")


def multiplexer(reading: Reading, program: str, words: list[Word]) -> None:
    """tmux and screen run what they are given; listing and attaching are plain."""
    plain = operands(words)
    if plain and not re.fullmatch(r"ls|list-\w+|a|at|attach|attach-session|has|has-session", plain[0].text or "x"):
        reading.flags.add("dynamic_code" if len(plain) > 1 or plain[0].text is None else "opaque")


CHECKERS: dict[str, Checker] = {
    "sed": sed, "awk": awk, "gawk": awk, "mawk": awk, "nawk": awk, "original-awk": awk, "tar": tar, "dd": dd,
    "sysctl": sysctl, "hostname": takes_no_operand, "date": date, "curl": curl, "top": top, "uniq": second_operand_is_output,
    "xxd": second_operand_is_output, "socat": socat, "openssl": openssl, "sqlite3": sqlite, "tmux": multiplexer, "byobu": multiplexer,
    "gzip": compressor, "bzip2": compressor, "xz": compressor, "zstd": compressor, "gunzip": compressor,
    "unzip": compressor, **dict.fromkeys(_LISTING, listing_only),
}  # fmt: skip
