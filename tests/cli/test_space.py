import json
import subprocess
import sys
from pathlib import Path

LOG = "BIOS-e820: [mem 0x0000000000100000-0x00000000bfffffff] usable\n"


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "finegrain.cli.main", "space", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True)


def test_a_map_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LOG)
    out = tmp_path / "out.json"
    done = run(
        "--memory-map", str(tmp_path / "log"), "--json", str(out), "--designs", "head,superpage:lock=bit2"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "superpage:lock=bit2" in done.stdout
    assert [design["name"] for design in json.loads(out.read_text())["designs"]] == [
        "head",
        "superpage:lock=bit2",
    ]
    piped = run("--memory-map", "-", "--json", "-", given=LOG)
    assert json.loads(piped.stdout)["ram"] == (3 << 30) - (1 << 20)


def test_refusals_are_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("nothing\n")
    for arguments in (
        ["--memory-map", str(tmp_path / "log")],
        ["--memory-map", str(tmp_path / "absent")],
        ["--memory-map", "-", "--designs", "head,hashed"],
        ["--memory-map", "-", "--designs", "hashed:lock=bit2"],
        ["--memory-map", "-", "--json", str(tmp_path / "no" / "where.json")],
    ):
        done = run(*arguments, given=LOG)
        assert done.returncode == 2
        assert done.stderr.startswith("finegrain: ")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
