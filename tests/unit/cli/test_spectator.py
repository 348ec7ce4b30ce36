"""What a watcher sees, and what a target cannot do to their terminal."""

from __future__ import annotations

import io

import msgspec
import pytest

from chalicelib.contracts.watching import Begun, Behind, Fresh, Over, Seen
from cli.spectator import Spectator

HEADING = '{"version":3,"term":{"cols":80,"rows":24}}\n'
SQL = '{"format":"sallyport-transcript","version":1,"protocol":"postgres","opened_ms":0}\n'


def cast(*texts: str) -> str:
    return "".join(f'[0.1,"o",{msgspec.json.encode(text).decode()}]\n' for text in texts)


def statement(number: int) -> str:
    done = {"t": 2, "event": "done", "statement": number, "outcome": "ok", "tag": "SELECT 1", "rows": 1, "ms": 3}
    asked = {"t": 1, "event": "operation", "kind": "query", "text": f"select {number}", "verdict": "allowed"}
    return "".join(msgspec.json.encode(each).decode() + "\n" for each in (asked, done))


def spectator(*, terminal: bool = True, channel: int | None = None) -> tuple[Spectator, io.StringIO]:
    out = io.StringIO()
    return Spectator(out, terminal=terminal, channel=channel), out


def test_a_terminal_is_shown_as_it_is_now_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    watch, out = spectator()
    watch.show(Begun(sid="ses_1", owner="alice\x1b[2J", target="web", login="root", protocol="ssh"))
    watch.show(Fresh(channel=1, kind="cast", lines=HEADING + cast("$ ls\r\n", "file\r\n")))
    watch.show(Seen(channel=1, kind="cast", lines=cast("$ ")))
    assert out.getvalue() == "$ ls\r\nfile\r\n$ "
    told = capsys.readouterr().err
    assert "root@web" in told
    assert "\x1b[2J" not in told


def test_what_would_act_on_the_watchers_terminal_is_left_out() -> None:
    watch, out = spectator()
    hostile = "\x1b]52;c;cm0gLXJm\x07\x1b[c\x1b]0;title\x07\x1bP+q544e\x1b\\\x1b[5n\x9b6n\x1b[8;1;1tok\u202e"
    watch.show(Fresh(channel=1, kind="cast", lines=HEADING + cast(*hostile)))
    assert out.getvalue() == "ok"


def test_who_fell_behind_is_told_and_sees_it_anew(capsys: pytest.CaptureFixture[str]) -> None:
    watch, out = spectator()
    watch.show(Fresh(channel=1, kind="cast", lines=HEADING + cast("one")))
    watch.show(Behind())
    assert "fell behind" in capsys.readouterr().err
    watch.show(Fresh(channel=1, kind="cast", lines=HEADING + cast("two")))
    assert out.getvalue().endswith("\x1b[2J\x1b[Htwo")


def test_a_terminal_that_is_larger_than_ones_own_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("LINES", "24")
    watch, _ = spectator()
    watch.show(Fresh(channel=1, kind="cast", lines=HEADING + cast("x")))
    assert "Theirs is 80x24 and yours 70x24" in capsys.readouterr().err


def test_as_text_a_terminal_is_lines_and_markers() -> None:
    watch, out = spectator(terminal=False)
    lines = HEADING + '[0.0,"m","allowed: ls (r)"]\n' + cast("a\x1b[31mb\r\n", "half") + '[0.0,"x","0"]\n'
    watch.show(Fresh(channel=1, kind="cast", lines=lines))
    assert out.getvalue() == "▸ allowed: ls (r)\nab\nhalf\n▸ exit status 0\n"


def test_statements_and_results_are_told_as_replay_tells_them() -> None:
    watch, out = spectator(terminal=False)
    watch.show(Fresh(channel=1, kind="jsonl", lines=SQL + statement(6), left_out=5))
    watch.show(Seen(channel=1, kind="jsonl", lines=statement(7)))
    told = out.getvalue()
    assert "select 6" in told
    assert "select 7" in told
    assert told.count("→ 1 row, 3 ms") == 2, "an outcome belongs to the statement above it"


def test_channels_are_told_apart_and_one_may_be_chosen() -> None:
    watch, out = spectator(terminal=False)
    watch.show(Fresh(channel=1, kind="cast", lines=HEADING + cast("one\r\n")))
    watch.show(Seen(channel=2, kind="cast", lines=HEADING + cast("two\r\n")))
    assert out.getvalue() == "one\n── channel 2 ──\ntwo\n"
    only, out = spectator(terminal=False, channel=2)
    only.show(Fresh(channel=1, kind="cast", lines=HEADING + cast("one\r\n")))
    only.show(Seen(channel=2, kind="cast", lines=HEADING + cast("two\r\n")))
    assert out.getvalue() == "two\n"


def test_a_guarded_shells_transcript_says_nothing_twice() -> None:
    watch, out = spectator(terminal=False)
    watch.show(Fresh(channel=1, kind="cast", lines=HEADING + cast("one\r\n")))
    shell = '{"format":"sallyport-transcript","version":1,"protocol":"shell","opened_ms":0}\n'
    watch.show(Fresh(channel=1, kind="jsonl", lines=shell + '{"t":1,"event":"operation","text":"ls","verdict":"allowed"}\n'))
    watch.show(Seen(channel=1, kind="cast", lines=cast("two\r\n")))
    assert "ls" not in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_shells_transcript_says_leaves_the_picture_alone(terminal: bool) -> None:
    watch, out = spectator(terminal=terminal)
    heading = SQL.replace("postgres", "shell")
    ran = '{"t":5,"event":"command","text":"ls","exit":0}\n'
    watch.show(Fresh(channel=1, kind="cast", lines=HEADING + cast("$ ls\r\n", "\x1b[?1049hfull ")))
    watch.show(Fresh(channel=1, kind="jsonl", lines=heading + ran))
    watch.show(Seen(channel=1, kind="cast", lines=cast("screen")))
    watch.show(Seen(channel=1, kind="jsonl", lines=ran))
    watch.show(Seen(channel=1, kind="cast", lines=cast("\x1b[?1049l$ \r\n")))
    shown = "$ ls\r\n\x1b[?1049hfull screen\x1b[?1049l$ \r\n" if terminal else "$ ls\n[full-screen program]\n$\n"
    assert out.getvalue() == shown


def test_at_the_end_the_terminal_is_as_it_was() -> None:
    watch, out = spectator()
    watch.show(Fresh(channel=1, kind="cast", lines=HEADING + cast("\x1b[?1049hvim")))
    watch.show(Over(code="ok", message=""))
    watch.close()
    assert "\x1b[?1049l" in out.getvalue().partition("vim")[2]
