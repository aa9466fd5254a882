import subprocess
import sys
from pathlib import Path

import pytest

from finegrain.cli.compare import parse_precision


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
        (["--images", "mixed"], "private and shared"),
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


def test_a_precision_is_a_percentage_or_a_part() -> None:
    assert parse_precision("5%") == parse_precision("0.05") == 0.05
