import os
import subprocess
import sys
from pathlib import Path

import pytest

from finegrain.cli import main as cli


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["finegrain", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_an_error_is_one_line_of_characters_that_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "workload", "show", "no\x1b[31m\nsuch") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("finegrain: no recording no\\x1b[31m\\x0asuch: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["frobnicate"], ["compare", "--frobnicate"], ["workload", "show"]])
def test_a_usage_error_names_the_help(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 2
    assert "(see 'finegrain --help')" in capsys.readouterr().err


def test_an_interrupt_is_said_and_has_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_register", interrupted)
    assert run(monkeypatch, "compare") == cli.INTERRUPTED
    assert capsys.readouterr().err == "finegrain: interrupted; nothing more is written\n"


def test_help_lists_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    page = capsys.readouterr().out
    assert all(name in page for name in cli.COMMANDS)


PROFILE = """\
max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name
9 28 1000 2500 500 2 15 0 28420 /b.c:6 (rw:a)
"""


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("profile show p.txt", 0, ""),
        ("profile show p.txt >/dev/full", 2, "the answer cannot be written: No space left on device"),
        ("profile show p.txt >&-", 2, "standard output is closed"),
        ("profile show - <&-", 2, "-: empty"),
        ("diff p.txt - <&-", 2, "-: empty"),
        ("whatif - --split a=2 <&-", 2, "-: empty"),
        ("diff p.txt p.txt --fail-if 'total wait > 1' >/dev/full", 2, "cannot be written"),
        ("diff p.txt p.txt --fail-if 'total wait > 1'", 1, ""),
        ("profile show p.txt 2>&-", 0, ""),
        ("profile show p.txt 2>/dev/full", 2, ""),
        ("profile show missing 2>/dev/full", 2, ""),
    ],
)
def test_status_1_is_a_broken_rule_and_nothing_else(
    words: str, status: int, said: str, buffered: str, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text(PROFILE)
    main = f"{sys.executable} -c 'from finegrain.cli.main import main; main()'"
    command = ["sh", "-c", f"{main} {words}"]
    ended = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONUNBUFFERED": buffered}, capture_output=True, text=True
    )
    assert ended.returncode == status
    errors = [line for line in ended.stderr.splitlines() if not line.startswith("note: ")]
    assert len(errors) == (1 if said else 0)
    assert said in ended.stderr
    assert "note:" not in ended.stdout


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_closed_pipe_ends_quietly(buffered: str, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(PROFILE)
    command = [
        sys.executable,
        "-c",
        "from finegrain.cli.main import main; main()",
        "profile",
        "show",
        "p.txt",
    ]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONUNBUFFERED": buffered},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        restore_signals=False,
    )
    os.close(write)
    assert ended.returncode == cli.CLOSED_PIPE
    assert all(line.startswith("note: ") for line in ended.stderr.splitlines())


def test_a_defect_is_no_broken_rule(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: list[str]) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_register", broken)
    assert run(monkeypatch, "compare") == cli.FAILED
    assert "ZeroDivisionError" in capsys.readouterr().err
