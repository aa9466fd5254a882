import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "finegrain.cli.main", "compare", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--designs", "heap"], "unknown layout 'heap'"),
        (["--designs", ""], "no design given"),
        (["--cpus", "0"], "1 to 1024"),
        (["--cpus", "5000"], "1 to 1024"),
        (["--cpus", "many"], "separated by commas"),
        (["--shape", "2x2"], "SOCKETSxCORESxTHREADS"),
        (["--cpus", "4", "--shape", "1x2x2"], "give one of them"),
        (["--seconds", "-1"], "0.001 to 1000"),
        (["--warmup", "-1"], "0 to 1000"),
        (["--jobs", "0"], "1 to 4096"),
        (["--replications", "0"], "1 to 1000"),
        (["--images", "none"], "private, shared and mixed"),
        (["--free-memory", "old"], "used and fresh"),
        (["--precision", "fine"], "5% or 0.05"),
        (["--precision", "0"], "0.1% to 100%"),
        (["--precision", "nan"], "0.1% to 100%"),
        (["--workload", "absent.fgrec"], "absent.fgrec"),
        (["--json", "absent/out.json"], "no directory"),
        (["--cost", "rmw=3"], "there is no cost 'rmw'"),
        (["--cost", "xfer_cross=-1"], "a number from 0"),
        (["--probe", "maybe"], "give on or off"),
        (["--probe", "off", "--cost", "probe=100"], "give one of them"),
        (["--frobnicate"], "--frobnicate"),
        (["--seconds", "soon"], "--seconds"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("finegrain: ")
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.fgrec"
    path.write_bytes(b"PAR1 but not really PAR1")
    result = run("--workload", str(path))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "foreign.fgrec" in result.stderr


def test_several_sizes_are_written_as_they_are_done(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = run(
        *("--cpus", "2,3", "--designs", "head", "--seconds", "0.001", "--warmup", "0", "--replications", "1"),
        *("--json", str(out)),
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert (document["schema"], document["over"], document["values"]) == (
        "finegrain.sweep/2",
        "cpus",
        ["2", "3"],
    )
    assert [comparison["machine"]["cpus"] for comparison in document["comparisons"]] == [2, 3]
