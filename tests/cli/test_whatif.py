import json
import sys
from pathlib import Path

import pytest

from finegrain.cli import main as cli

PROFILE = """\
max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name
9 28 500000 785472 100000 5 7 0 28420 /usr/src/sys/b.c:6 (rw:pv list)
9 28 200000 490 100000 2 0 0 28420 /usr/src/sys/b.c:7 (sx:map (user))
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text(PROFILE)
    Path("two.txt").write_text(PROFILE + PROFILE)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["finegrain", "whatif", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_bounds_assumptions_and_the_next_lock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "p.txt", "--split", "pv list=512", "--cpus", "8", "--span", "1s") == 0
    out = capsys.readouterr().out
    for word in (
        "measured",
        "partitioned use",
        "random use",
        "all on one",
        "Saturates next: sx:map (user), held 20.00%",
        "8 threads",
    ):
        assert word in out


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "p.txt", "--split", "pv list=2", "--span", "1", "--json") == 0
    (split,) = json.loads(capsys.readouterr().out)["splits"]
    # open queues, use 0.5 and 0.25 of 5 us holds: 100,000 x 5 x 0.5/0.5 and x 0.25/0.75
    assert split["model_us"] == pytest.approx(500_000)
    assert split["random_us"] == pytest.approx(500_000 / 3)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["p.txt", "--split", "pv list=2"], "give --span"),
        (["p.txt", "--split", "pv list", "--span", "1s"], "write LOCK=K"),
        (["p.txt", "--split", "pv=2", "--span", "1s"], "did you mean rw:pv list?"),
        (["p.txt", "--split", "pv list=2", "--span", "100ms"], "5 at a time"),
        (["p.txt", "--split", "pv list=2", "--span", "-1s"], "give a time"),
        (["p.txt", "--split", "pv list=2", "--span", "1s", "--cpus", "8", "--users", "9"], "--users 9"),
        (["two.txt", "--split", "pv list=2", "--span", "1s"], "choose one: two.txt#1, two.txt#2"),
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


def test_users(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["p.txt", "--split", "pv list=8", "--span", "1s", "--cpus", "8", "--users", "2", "--json"]
    assert run(monkeypatch, *words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["users"] == 2
    assert document["splits"][0]["partitioned_us"] > 0


def test_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["p.txt", "--split", "pv list=2", "--span", "1"]
    assert run(monkeypatch, *words) == 0
    out, err = capsys.readouterr()
    assert "Assumed" in out
    assert "note: FreeBSD LOCK_PROFILING: one name covers every lock" in err
    assert run(monkeypatch, *words, "--quiet") == 0
    out, err = capsys.readouterr()
    assert "Assumed" not in out
    assert err == ""


def test_evidence_of_another_profile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("perf.txt").write_text(
        " contended   total wait     max wait     avg wait            address   symbol\n\n"
        "        16    520.45 us      98.10 us     32.53 us   ffff8881163a9e80   pv list (rwlock)\n"
        "         8    215.30 us      88.00 us     26.91 us   ffff8881163a9f80   pv list (rwlock)\n"
    )
    words = ["p.txt", "--split", "pv list=8", "--span", "1s", "--evidence", "perf.txt"]
    assert run(monkeypatch, *words) == 0
    out = capsys.readouterr().out
    assert (
        "2 locks are told apart, 71% of it at ffff8881163a9e80: as of 1.71 used evenly: speaks for random use"
        in out
    )
    assert run(monkeypatch, *words[:-1], "missing") == 2
