"""Programs that start another program named in their arguments: find it, and report it as a command of its own.

Each function takes the reading, the program's base name and its arguments. What cannot be found is flagged, never
skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from agent.core.shell.nested import ASSIGNMENT, assignments, code, inner, joined, starts_shell
from agent.core.shell.options import Parsed, Spec, has_option, leading, names
from agent.core.shell.reading import Reading
from agent.core.shell.shells import shell, ssh, su
from agent.core.shell.words import UNKNOWN, Word, literal
from agent.core.shell.wrappers import SHELLS, WRAPPERS

Launcher = Callable[[Reading, str, list[Word]], None]
_PLAIN_SPLIT = re.compile(r"[\w./:@%+,= \t-]*")


def wrapper(reading: Reading, program: str, words: list[Word]) -> None:
    """Programs described by `wrappers.WRAPPERS`."""
    spec = WRAPPERS[program]
    parsed = leading(words, spec)
    if not parsed.sure:
        reading.flags.add("dynamic_command")
    rest = parsed.rest
    if program == "time":
        rest = _timed(reading, rest)
    if spec.assigns:
        rest = assignments(reading, rest)
    while program == "sudo" and len(rest) < len(parsed.rest):
        # Options and assignments may take turns.
        more = leading(rest, spec)
        parsed = Parsed(parsed.options + more.options, more.rest, more.sure)
        if not parsed.sure:
            reading.flags.add("dynamic_command")
        rest = assignments(reading, more.rest)
    if spec.operands:
        if any(word.splits for word in rest[: spec.operands]):
            reading.flags.add("dynamic_command")
        rest = rest[spec.operands :]
    _settings(reading, program, parsed)
    _renamed(reading, program, parsed, rest)
    if not rest:
        _alone(reading, program, spec, parsed, words)
        return
    if spec.appends:
        rest = _appended(parsed, rest)
    inner(reading, rest)


def _renamed(reading: Reading, program: str, parsed: Parsed, rest: list[Word]) -> None:
    """`exec -a rm busybox ls`: many a program is another one under another name."""
    plain = (rest[0].text or "").rsplit("/", 1)[-1] if rest else ""
    for name in parsed.values("a", "argv0") if program in {"exec", "ld.so"} else []:
        if name.text is None or name.text.removeprefix("-").rsplit("/", 1)[-1] != plain:
            reading.flags.add("dynamic_command")


def _timed(reading: Reading, words: list[Word]) -> list[Word]:
    """What bash's own `time` stands before is a pipeline: it may be negated, and begin with assignments."""
    rest = words
    while rest:
        if rest[0].text == "!":
            rest = rest[1:]
            continue
        match = ASSIGNMENT.match(rest[0].prefix if rest[0].text is None else rest[0].text)
        if not match:
            break
        value = rest[0].text
        reading.assign(match[1], UNKNOWN if value is None else literal(value.partition("=")[2]), straight=False)
        rest = rest[1:]
    return rest


def _alone(reading: Reading, program: str, spec: Spec, parsed: Parsed, words: list[Word]) -> None:
    if (
        spec.alone == "shell"
        or (spec.alone == "privileged" and parsed.has("i", "s", "login", "shell"))
        or (spec.alone == "privileged" and not parsed.has("l", "v", "V", "k", "K", "list", "version", "validate"))
    ):
        starts_shell(reading)
    elif words and not parsed.options and program not in {"env", "exec"}:
        reading.flags.add("dynamic_command")
    else:
        reading.effects.add("read")


def _settings(reading: Reading, program: str, parsed: Parsed) -> None:
    """Options of wrappers that are more than settings."""
    if program == "sudo" and parsed.has("e", "edit"):
        reading.flags.add("opaque")
        reading.effects.update({"write", "execute"})
    if program in {"strace", "ltrace"}:
        for value in parsed.values("o"):
            if value.text is None or value.text[:1] in "|!":
                reading.flags.add("dynamic_code")
            else:
                reading.effects.add("write")
        if parsed.has("p"):
            reading.effects.add("execute")
        for value in parsed.values("E"):
            assignments(reading, [value])
    if program == "ld.so" and parsed.has("preload", "library-path", "audit"):
        reading.flags.add("tamper")
    if program == "systemd-run" and parsed.has("p", "property", "S", "shell", "E", "setenv"):
        reading.flags.add("dynamic_code")
    if program in {"nsenter", "chroot", "unshare", "choom", "prlimit", "renice", "taskset", "chrt", "systemd-run"}:
        reading.effects.add("admin")


def _appended(parsed: Parsed, rest: list[Word]) -> list[Word]:
    """xargs: with -I the replacement may be anywhere, otherwise the arguments come last."""
    markers = [value.text or "{}" for value in parsed.values("I", "replace", "i")]
    if parsed.has("I", "replace", "i"):
        markers = markers or ["{}"]
        return [Word(None, "", splits=False) if any(mark in (word.text or mark) for mark in markers) else word for word in rest]
    return [*rest, UNKNOWN]


def env(reading: Reading, program: str, words: list[Word]) -> None:
    """env, with -S: a string that env itself splits."""
    for position, word in enumerate(words):
        text = word.text or ""
        if text.startswith(("-S", "--split-string", "-vS", "-iS", "-0S")) or (
            text[:1] == "-" and text[1:2] != "-" and "S" in text
        ):
            _split_string(reading, words, position)
            return
        if not text.startswith("-") or text == "--":
            break
    wrapper(reading, program, [literal("-i") if word.text == "-" else word for word in words])


def _split_string(reading: Reading, words: list[Word], at: int) -> None:
    text = words[at].text or ""
    if text.startswith("--"):
        _, equals, value = text.partition("=")
    else:
        value = text[text.index("S") + 1 :]
        equals = value
    rest = words[at + 1 :]
    if not equals:
        if not rest or rest[0].text is None:
            reading.flags.add("dynamic_command")
            return
        value, rest = rest[0].text, rest[1:]
    if not _PLAIN_SPLIT.fullmatch(value):
        reading.flags.add("dynamic_command")  # env's own quoting and ${VAR}: not ours to imitate
    wrapper(reading, "env", [literal(piece) for piece in value.split()] + rest)


def command_builtin(reading: Reading, program: str, words: list[Word]) -> None:
    """`command -v x` only looks; `command x` runs."""
    parsed = leading(words, WRAPPERS["command"])
    if parsed.sure and parsed.has("v", "V"):
        reading.effects.add("read")
        return
    wrapper(reading, program, words)


def coproc(reading: Reading, program: str, words: list[Word]) -> None:
    """coproc [NAME] command: the parser does not know it, and bash itself misreads it inside `[[ $(…) ]]`."""
    reading.flags.update({"dynamic_command", "background"})
    inner(reading, words)


def watch(reading: Reading, program: str, words: list[Word]) -> None:
    """watch joins its words for sh -c."""
    spec = Spec(
        "nq",
        "bcdegtxCrpw",
        frozenset({"interval", "equexit"}),
        names("beep color no-color differences errexit chgexit no-title exec precise no-rerun no-wrap"),
    )
    parsed = leading(words, spec)
    if not parsed.sure:
        reading.flags.add("dynamic_command")
    if parsed.has("x", "exec"):
        inner(reading, parsed.rest)
    else:
        joined(reading, parsed.rest)


def flock(reading: Reading, program: str, words: list[Word]) -> None:
    """flock FILE command…, or flock FILE -c code."""
    spec = Spec(
        "wE",
        "sxeunoFv",
        frozenset({"timeout", "wait", "conflict-exit-code"}),
        names("shared exclusive unlock nonblock nb close no-fork verbose"),
    )
    parsed = leading(words, spec)
    rest = parsed.rest[1:]
    if not parsed.sure or any(word.splits for word in parsed.rest[:1]):
        reading.flags.add("dynamic_command")
    if rest and rest[0].text in {"-c", "--command"}:
        code(reading, rest[1] if len(rest) > 1 else None)
    else:
        inner(reading, rest)


def script(reading: Reading, program: str, words: list[Word]) -> None:
    """script -c code file; without -c a shell."""
    spec = Spec(
        "cIOBoTEm",
        "aefqt",
        names("command log-in log-out log-io log-timing output-limit echo logging-format"),
        names("append return flush force quiet"),
    )
    reading.effects.add("write")
    # getopt permutes: -c may follow the file.
    found, rest = False, words
    while rest:
        parsed = leading(rest, spec)
        for value in parsed.values("c", "command"):
            found = True
            code(reading, value)
        if not parsed.sure:
            reading.flags.add("dynamic_code")
        rest = parsed.rest[1:]
    if not found:
        starts_shell(reading)


def parallel(reading: Reading, program: str, words: list[Word]) -> None:
    """GNU parallel: a template before `:::`; without one, the inputs are the commands."""
    spec = Spec(
        "jnNLIadCPsS",
        "0kuXmtqv",
        names("jobs max-args max-replace-args colsep delimiter delay retries timeout arg-file joblog"),
        names("keep-order null bar progress dry-run eta halt-on-error ungroup line-buffer no-notice"),
    )
    parsed = leading(words, spec)
    if not parsed.sure or parsed.has("S", "a"):
        reading.flags.add("dynamic_command")
    template = []
    for word in parsed.rest:
        if word.text in {":::", "::::", ":::+", "::::+"}:
            break
        template.append(word)
    if not template:
        reading.flags.update({"dynamic_code", "dynamic_command"})
        reading.effects.add("execute")
        for word in parsed.rest[len(template) + 1 :]:
            code(reading, word)
        return
    joined(reading, template)
    # The inputs are put into the code unquoted by some options, and are appended to it by default.
    if any((word.text or "").startswith("{") for word in template[:1]) or len(template) == 1:
        reading.flags.add("dynamic_code" if " " in (template[0].text or "{") or "{" in (template[0].text or "") else "glob")


_FIND_EXEC = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_FIND_WRITES = frozenset({"-fprint", "-fprint0", "-fprintf", "-fls"})


def find(reading: Reading, program: str, words: list[Word]) -> None:
    """find: -exec and its kin run a command per file; -delete deletes."""
    reading.effects.add("read")
    at = 0
    while at < len(words):
        word = words[at]
        text = word.text
        if text is None and word.may_be_option:
            reading.flags.add("dynamic_code")
        elif text in _FIND_EXEC:
            stop = at + 1
            while stop < len(words) and words[stop].text not in {";", "+"}:
                stop += 1
            body = [UNKNOWN if "{}" in (each.text or "") and each.text != "{}" else each for each in words[at + 1 : stop]]
            body = [Word(None, "/") if each.text == "{}" else each for each in body]
            if body and body[0].text in {"rm", "/bin/rm", "/usr/bin/rm", "rmdir", "unlink"}:
                reading.flags.add("recursive_delete")
            inner(reading, body)
            at = stop
        elif text == "-delete":
            reading.effects.add("write")
            reading.flags.add("recursive_delete")
            reading.verbs.add("find:delete")
        elif text in _FIND_WRITES:
            reading.effects.add("write")
            reading.objects.update(each.text for each in words[at + 1 : at + 2] if each.text)
        at += 1


def container(reading: Reading, parsed: Parsed) -> None:
    """The command inside a container, after the container's or image's name."""
    reading.effects.add("execute")
    if not parsed.sure or any(word.splits for word in parsed.rest[:1]):
        reading.flags.add("dynamic_command")
    if len(parsed.rest) > 1:
        inner(reading, parsed.rest[1:])
    else:
        reading.flags.add("dynamic_code")  # the image's own entry point


def crontab(reading: Reading, program: str, words: list[Word]) -> None:
    """crontab: -l reads, -r removes, -e edits, a file or standard input is code for later."""
    if has_option(words, "l"):
        reading.effects.add("read")
    elif has_option(words, "r"):
        reading.effects.add("admin")
    elif has_option(words, "e"):
        reading.effects.update({"execute", "admin"})
        reading.flags.add("opaque")
    else:
        reading.effects.update({"execute", "admin"})
        stdin = not words or words[-1].text == "-"
        reading.flags.add("code_from_stdin" if stdin else "script_file")


def at_job(reading: Reading, program: str, words: list[Word]) -> None:
    """at and batch read code from standard input, or from -f file."""
    if has_option(words, "l") or program == "atq":
        reading.effects.add("read")
    elif has_option(words, "dr") and not has_option(words, "f"):
        reading.effects.add("admin")
    else:
        reading.effects.add("execute")
        reading.flags.add("script_file" if has_option(words, "f") else "code_from_stdin")


LAUNCHERS: dict[str, Launcher] = {
    **dict.fromkeys(WRAPPERS, wrapper),
    **dict.fromkeys(SHELLS, shell),
    "env": env,
    "coproc": coproc,
    "command": command_builtin,
    "su": su,
    "runuser": su,
    "ssh": ssh,
    "slogin": ssh,
    "watch": watch,
    "flock": flock,
    "script": script,
    "parallel": parallel,
    "find": find,
    "crontab": crontab,
    "at": at_job,
    "batch": at_job,
    "atq": at_job,
}
