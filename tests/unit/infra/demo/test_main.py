"""The folder of a demo: emptied at its beginning, one demo's at a time, and never somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.demo import __main__ as demo


def test_a_demo_empties_what_the_one_before_left(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "demo"
    with demo.emptied(folder):
        (folder / "log").mkdir()
        (folder / "log" / "agent.log").write_text("from before")
        (folder / "link").symlink_to(tmp_path)
    with demo.emptied(folder):
        assert [path for path in folder.iterdir() if path.name in {"log", "link"}] == []
    assert tmp_path.is_dir()


def test_two_at_once_do_not_share_a_folder(tmp_path: Path) -> None:
    with demo.emptied(tmp_path):
        (tmp_path / "alive").touch()
        with pytest.raises(RuntimeError, match=r"another demo runs in .* DEMO_DIR="), demo.emptied(tmp_path):
            pass
        assert (tmp_path / "alive").exists()
    with demo.emptied(tmp_path):
        assert not (tmp_path / "alive").exists()


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(RuntimeError, match="no demo's"), demo.emptied(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").exists()


def test_too_little_room_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "ROOM", 1 << 62)
    with pytest.raises(RuntimeError, match=r"too little room in .* MB are free"), demo.emptied(tmp_path):
        pass


def test_a_problem_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEMO_DIR", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    assert demo.main() == 1
    assert capsys.readouterr().err.startswith("demo: [Errno ")
