from __future__ import annotations

from cli.cast import CastReader, Event, TranscriptReader


def test_events_in_order() -> None:
    reader = CastReader(
        [
            b'{"version":3,"term":{"cols":100,"rows":30},"command":"uname -a"}\n',
            b"# a remark\n",
            b'[0.5,"o","hi"]\n',
            b"\n",
            b'[1,"x","0"]\n',
        ]
    )
    assert list(reader.events()) == [Event(0.5, "o", "hi"), Event(1.0, "x", "0")]
    assert (reader.heading.term.cols, reader.heading.command, reader.strange) == (100, "uname -a", 0)


def test_what_is_not_understood_is_counted() -> None:
    strange = [b"x", b"[]", b'[-1,"o","x"]', b'["o"]', b'[1,"o"]', b'{"version":"x"}', b"\xff", b"[" * 10_000, b'[1e999,"o","x"]']
    reader = CastReader(strange)
    assert list(reader.events()) == []
    assert reader.strange == len(strange)


def test_a_pause_is_bounded() -> None:
    assert next(CastReader([b'[1e300,"o","x"]']).events()).interval == 86_400


def test_a_transcript_has_a_heading() -> None:
    reader = TranscriptReader([b'{"format":"sallyport-transcript","protocol":"sftp"}', b'{"t":1,"event":"exit"}', b"[]", b"\xff"])
    assert list(reader.entries()) == [{"t": 1, "event": "exit"}]
    assert (reader.heading["protocol"], reader.strange) == ("sftp", 2)
