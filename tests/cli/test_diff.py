import json
import sys
from pathlib import Path

import pytest

from finegrain.cli import main as cli

HEADING = "max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name\n"


def row(wait: int, name: str) -> str:
    return f"9 28 1000 {wait} 500 2 15 0 28420 /usr/src/sys/b.c:6 ({name})\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(HEADING + row(1000, "rw:pv list") + row(300, "sx:map (user)"))
    Path("b.txt").write_text(HEADING + row(100, "rw:pv list") + row(500, "sx:map (user)"))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["finegrain", "diff", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_side_by_side_then_joined(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "a.txt", "b.txt") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].split() == ["1", "1,000", "rw:pv", "list", "500", "sx:map", "(user)"]
    assert lines[8].split() == ["1,000", "100", "-900", "-90.0%", "10.0x", "less", "rw:pv", "list"]
    assert lines[10].split() == ["1,300", "600", "-700", "-53.8%", "2.17x", "less", "total"]
    assert "saved 900 us, of which 200 us (22.2%) came back as waiting elsewhere" in lines[-1]


def test_a_broken_rule_is_status_1_with_the_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = ["--fail-if", "sx:map (user) wait > +10%", "--fail-if", "rw:pv list wait > +10%"]
    assert run(monkeypatch, "a.txt", "b.txt", *rules) == 1
    out = capsys.readouterr().out
    assert "failed: sx:map (user) wait > +10%: b.txt: 300 -> 500: +66.67%\n" in out
    assert out.count("failed:") == 1


def test_rules_that_hold_are_status_0(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "a.txt", "b.txt", "--fail-if", "rw:pv list wait > +10%") == 0


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "a.txt", "b.txt", "--json", "--fail-if", "total wait > 1us") == 1
    document = json.loads(capsys.readouterr().out)
    assert [total["wait_us"] for total in document["totals"]] == [1300.0, 600.0]
    assert len(document["failed"]) == 1


def test_spans(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "a.txt", "b.txt", "--span", "90m,2700s") == 0
    out, err = capsys.readouterr()
    assert "-800" in out
    assert "scaled to 90 min: b.txt x 2" in err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["a.txt"], "one profile cannot be compared"),
        (["a.txt", "missing"], "missing: cannot be read"),
        (["-", "-"], "only once"),
        (["a.txt", "b.txt", "--fail-if", "nonsense"], "--fail-if 'nonsense'"),
        (["a.txt", "b.txt", "--span", "1s"], "1 spans for 2 profiles"),
        (["a.txt", "b.txt", "--by", "x"], "--by x"),
        (["a.txt", "b.txt", "--by", "row"], "--by row"),
        (["a.txt", "b.txt", "--metric", "x"], "--metric x"),
        (["a.txt", "b.txt", "--same", "x"], "--same 'x'"),
    ],
)
def test_refusals_are_one_line(
    words: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err
    assert err.count("\n") == 1


def test_runs_of_two_sides(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a2.txt").write_text(HEADING + row(50, "rw:pv list") + row(300, "sx:map (user)"))
    assert run(monkeypatch, "a.txt", "a2.txt", "--against", "b.txt") == 0
    out, err = capsys.readouterr()
    assert "within" in out
    assert "[1] is the mean of 2 runs" in err
    assert out.splitlines()[2].startswith("[2] b.txt")


def test_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a2.txt").write_text("prose\n" + HEADING + row(50, "rw:PV list"))
    for words in ([], ["--markdown"]):
        assert run(monkeypatch, "a.txt", "a2.txt", *words) == 0
        assert "is taken for" in "".join(capsys.readouterr())
        assert run(monkeypatch, "a.txt", "a2.txt", "-q", *words) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert "is taken for" not in out


def test_a_lock_that_was_renamed_and_another_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("b.txt").write_text(HEADING + row(100, "mtx:pv=lock") + row(500, "sx:map (user)"))
    words = ["a.txt", "b.txt", "--same", "rw:pv list=mtx:pv=lock", "--metric", "hold", "--json"]
    assert run(monkeypatch, *words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metric"] == "hold_us"
    assert document["joined"] == [{"lock": "rw:pv list", "is": "mtx:pv=lock", "rule": "--same"}]


def test_what_formats_do_not_tell_is_said_where_they_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("stat.txt").write_text(
        "lock_stat version 0.4\n"
        "&pv: 233 538 0.10 22924.27 607243.51 1128.70 1342 45806 1.71 8595.89 1180582.34 25.77\n"
    )
    assert run(monkeypatch, "a.txt", "b.txt") == 0
    assert "one name covers" not in capsys.readouterr().err
    assert run(monkeypatch, "a.txt", "stat.txt") == 0
    err = capsys.readouterr().err
    assert err.count("note: FreeBSD LOCK_PROFILING: one name covers") == 1
    assert "note: Linux lock_stat: " in err
