from __future__ import annotations

from cli.login_page import HEADERS, page


def test_text_is_escaped() -> None:
    assert "<b>" not in page("<b>", "<b>")
    assert "&lt;b&gt;" in page("<b>", "<b>")


def test_it_is_light_and_dark_and_runs_nothing() -> None:
    text = page("Title", "Sentence.")
    assert "prefers-color-scheme: dark" in text
    assert "<script" not in text
    assert "http" not in text
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]


def test_good_and_bad_look_and_read_different() -> None:
    assert 'role="status"' in page("x", "y")
    assert 'role="alert"' in page("x", "y", good=False)
