from pathlib import Path

import pytest

from finegrain.errors import UserError
from finegrain.files import check_writable, write_text, written_whole


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.json"
    write_text(path, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(UserError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_are_refused_early(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="directory"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="no directory"):
        check_writable(tmp_path / "absent" / "out.json")
    check_writable(tmp_path / "out.json")


def write_half(path: Path) -> None:
    with written_whole(path) as beside:
        beside.write_text("half")
        raise RuntimeError


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before")
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "before"


def test_a_directory_that_is_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="cannot write /nonexistent/out: No such file"):
        write_text(Path("/nonexistent/out"), "new")
