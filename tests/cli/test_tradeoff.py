import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RESULT = {
    "schema": "finegrain.compare/4",
    "machine": {"memory_bytes": 1 << 30, "cpus": 2},
    "designs": [
        {"name": "head", "pv_bytes": 1024, "locks": [{"lock": "rw:pmap pv list", "wait_us_90min": 1.0}]}
    ],
}


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "finegrain.cli.main", "tradeoff", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_a_picture_is_drawn_where_it_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(RESULT))
    assert run("r.json", cwd=tmp_path).stdout == "wrote tradeoff.svg\n"
    assert run("r.json", "-o", "a.PNG", cwd=tmp_path).stdout == "wrote a.PNG\n"
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")


def test_without_a_name_the_newest_result(tmp_path: Path) -> None:
    (tmp_path / ".finegrain").mkdir()
    (tmp_path / ".finegrain" / "old.json").write_text("no result")
    os.utime(tmp_path / ".finegrain" / "old.json", (1, 1))
    (tmp_path / ".finegrain" / "new.json").write_text(json.dumps(RESULT))
    assert run(cwd=tmp_path).stdout == "wrote tradeoff.svg\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no result here"),
        (["absent.json"], "cannot be read"),
        (["r.json", "-o", "a.pdf"], ".svg or .png"),
        (["r.json", "-o", "no/where.svg"], "no directory"),
    ],
)
def test_refusals_are_one_line_and_status_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("{}")
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json"]
