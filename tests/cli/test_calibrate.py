import json
from pathlib import Path

import pytest

from finegrain.cli import main
from finegrain.study.calibration import read_calibration


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["finegrain", *words])
    try:
        main.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def column(path: Path, waits: str) -> Path:
    path.write_text(
        'schema = "finegrain.target/1"\nminutes = 90\ncpus = 2\njobs = 2\nworkload = "stage"\nimages = "private"\n'
        f"[waited_us]\n{waits}\n"
    )
    return path


def test_a_fit_from_end_to_end_and_once_more_from_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    target = column(tmp_path / "t.toml", '"rw:pmap pv list" = 1e6\n"rw:vm object" = 1e6')
    words = [
        "calibrate", "--target", str(target), "-o", "c.toml", "--json", "c.json", "--replications", "1",
        "--rounds", "2", "--seconds", "0.01", "--keep", "kept",
    ]  # fmt: skip
    assert run(monkeypatch, *words) == 0
    out = capsys.readouterr().out
    assert "user_time" in out
    assert "rw:vm object" in out
    made = read_calibration("c.toml")
    assert (made.workload, made.cpus, made.images) == ("stage", 2, "private")
    assert json.loads(Path("c.json").read_text())["measured_us"]["rw:vm object"] == 1e6
    kept = {path.name for path in Path("kept").iterdir()}
    assert kept
    assert run(monkeypatch, *words) == 0
    assert capsys.readouterr().out == out
    assert {path.name for path in Path("kept").iterdir()} == kept


def test_a_target_that_is_none_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = column(tmp_path / "t.toml", '"rw:no such lock" = 5')
    assert run(monkeypatch, "calibrate", "--target", str(target)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "there is no lock 'rw:no such lock'" in err
