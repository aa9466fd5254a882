import sys

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
