import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from finegrain.cli import main as cli

FREEBSD = """\
# sysctl debug.lock.prof.stats
debug.lock.prof.stats:
     max  wait_max   total  wait_total   count    avg wait_avg cnt_hold cnt_lock name
      21        66  288942      785472   56865      5       13        0    56277 /usr/src/sys/a.c:13 (rw:pv list)
       9        28  109754      490700   32127      3       15        0    28420 /usr/src/sys/b.c:6 (sx:map (user))
       7        20     754         490   32127      0        0        0    28420 /usr/src/sys/b.c:60 (sx:map (user))
       7        20     754
# uptime
"""
COMPARE = {
    "schema": "finegrain.compare/1",
    "machine": {"kind": "simulated", "cpus": 104},
    "simulated_seconds": 2.0,
    "designs": [
        {
            "name": name,
            "locks": [
                {"lock": "rw:pv list", "acquisitions": 10, "contested": 5, "wait_us": wait, "hold_us": 9.0}
            ],
        }
        for name, wait in (("head", 900.0), ("superpage", 90.0))
    ],
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "freebsd.txt").write_text(FREEBSD)
    (tmp_path / "result.json").write_text(json.dumps(COMPARE))
    (tmp_path / "prose.txt").write_text("There is no profile here.\nNone at all.\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["finegrain", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.usefixtures("files")
class TestShow:
    def test_a_table_worst_first(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "profile", "show", "freebsd.txt") == 0
        out, err = capsys.readouterr()
        lines = out.splitlines()
        assert lines[3].split()[:2] == ["1", "785,472"]
        assert lines[3].endswith("rw:pv list")
        assert lines[4].split()[:2] == ["2", "491,190"]
        assert lines[4].endswith("sx:map (user)")
        assert "\x1b" not in out
        assert "cnt_hold is always 0" in err
        assert "broken rows in lines 7" in err

    @pytest.mark.parametrize("words", [[], ["--markdown"], ["--csv"]])
    def test_quiet(
        self, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "profile", "show", "freebsd.txt", "--quiet", *words) == 0
        out, err = capsys.readouterr()
        assert "pv list" in out
        assert "cnt_hold is always" not in out + err

    def test_a_stored_profile_is_shown_as_the_text_was(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(monkeypatch, "profile", "show", "freebsd.txt")
        text = capsys.readouterr().out
        run(monkeypatch, "profile", "show", "freebsd.txt", "--json")
        page = capsys.readouterr().out
        Path("base.json").write_text(page.replace("times are whole", "\\u001b[31m"))
        assert run(monkeypatch, "profile", "show", "base.json") == 0
        out, err = capsys.readouterr()
        assert out == text.replace("freebsd.txt", "base.json")
        assert "[31m microseconds" in err  # without what would color it
        assert "\x1b" not in err

    def test_by_point_and_by_class(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(monkeypatch, "profile", "show", "freebsd.txt", "--by", "site", "--top", "2")
        out = capsys.readouterr().out
        assert "rw:pv list at /usr/src/sys/a.c:13" in out
        assert "... and 1 more" in out
        run(monkeypatch, "profile", "show", "freebsd.txt", "--by", "class", "--csv")
        assert capsys.readouterr().out.splitlines()[1].startswith("freebsd.txt,rw,,,785472.0,")

    def test_json_has_every_row(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(monkeypatch, "profile", "show", "freebsd.txt", "--json")
        document = json.loads(capsys.readouterr().out)
        (profile,) = document["profiles"]
        assert len(profile["rows"]) == 3
        assert profile["rows"][1]["wait_us"] == 490700
        assert "wait_min_us" not in profile["rows"][1]
        assert document["broken_rows"] == 1
        assert {"first": 7, "last": 7, "why": "row cut short"} in document["skipped"]

    def test_markdown_escapes(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("evil.txt").write_text(FREEBSD.replace("pv list", "a|b <q>_x_"))
        run(monkeypatch, "profile", "show", "evil.txt", "--markdown")
        assert "| rw:a\\|b &lt;q&gt;\\_x\\_ |" in capsys.readouterr().out

    def test_one_design_of_a_result(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(monkeypatch, "profile", "show", "result.json#superpage")
        out = capsys.readouterr().out
        assert "result.json#superpage: finegrain compare, simulated machine, 104 CPUs, 2 s" in out
        assert "#head" not in out

    def test_standard_input(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(FREEBSD.encode()))))
        assert run(monkeypatch, "profile", "show", "-") == 0
        assert "rw:pv list" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (["prose.txt"], "prose.txt: no lock profile found in 2 lines"),
            (["missing.txt"], "missing.txt: cannot be read: No such file"),
            (["."], "cannot be read: Is a directory"),
            (["result.json#other"], "no profile #other in it; it has head, superpage"),
            (["freebsd.txt", "--by", "colour"], "--by colour"),
            (["freebsd.txt", "--json", "--csv"], "exclude one another"),
            (["freebsd.txt", "--top", "-1"], "--top -1"),
        ],
    )
    def test_refusals_are_one_line(
        self, words: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(monkeypatch, "profile", "show", *words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert why in err
        assert err.count("\n") == 1


@pytest.mark.usefixtures("files")
def test_a_pipe_gets_the_same_text() -> None:
    command = [
        sys.executable,
        "-c",
        "from finegrain.cli.main import main; main()",
        "profile",
        "show",
        "freebsd.txt",
    ]
    result = subprocess.run(command, capture_output=True, check=True)
    assert b"\x1b" not in result.stdout
    assert b"785,472" in result.stdout
