"""Sweeps as a user runs them: stopped, gone on with, extended, two at once."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = ("--shape", "1x1x2", "--seconds", "0.002", "--warmup", "0", "--replications", "2")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "finegrain.cli.main", "sweep", *arguments]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd)


def written(path: Path) -> str:
    return re.sub(r'"wall_s": [0-9.e-]+', "", path.read_text())


def kept(folder: Path) -> int:
    return len(list((folder / ".finegrain" / "points").glob("*.json.gz")))


def test_a_sweep_is_extended_by_what_is_new_and_two_at_once_do_no_harm(tmp_path: Path) -> None:
    first = run("locks", "--from", "2", "--to", "4", *TINY, "--json", "a.json", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "superpage" in first.stdout
    assert kept(tmp_path) == 6
    both = [
        subprocess.Popen(
            command("locks", "--from", "2", "--to", "8", *TINY, "--json", name),
            cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for name in ("b.json", "c.json")
    ]  # fmt: skip
    assert [one.wait() for one in both] == [0, 0], [one.stderr and one.stderr.read() for one in both]
    assert kept(tmp_path) == 8
    alone = run("locks", "--from", "2", "--to", "8", *TINY, "--json", "d.json", "--no-keep", cwd=tmp_path)
    assert alone.returncode == 0
    assert kept(tmp_path) == 8
    assert written(tmp_path / "b.json") == written(tmp_path / "c.json") == written(tmp_path / "d.json")
    assert not list((tmp_path / ".finegrain" / "points").glob(".*"))


def test_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    arguments = ("images", "private,shared", "--designs", "head,superpage", *TINY, "--json", "out.json")
    killed = subprocess.Popen(
        command(*arguments), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while kept(tmp_path) < 2 and killed.poll() is None:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    before = {
        path: path.stat().st_mtime_ns for path in (tmp_path / ".finegrain" / "points").glob("*.json.gz")
    }
    assert len(before) >= 2
    again = run(*arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert kept(tmp_path) == 8
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert json.loads((tmp_path / "out.json").read_text())["values"] == ["private", "shared"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["planets", "1,2"], "there are locks, cpus"),
        (["locks", "256,512"], "give --from and --to"),
        (["locks", "--from", "5", "--to", "2"], "the smaller one first"),
        (["cpus"], "such as 8,32,104"),
        (["cpus", "8", "--shape", "1x1x1"], "give one of them"),
        (["cost", "warp=1,2"], "there is no cost 'warp'"),
        (["cpus", "8", "--backend", "slurm"], "local, dask, ray"),
        (["cpus", "8", "--address", "tcp://x"], "give --backend"),
        (["cpus", "8", "--keep", "/proc/no"], "--keep names another folder"),
        (["cpus", "8", "--backend", "dask", "--address", "tcp://127.0.0.1:9"], "no dask cluster at"),
        (["cpus", "8", "--designs", "head,hashed"], "given twice"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("finegrain: ")
    assert says in done.stderr
