import sys

import pytest

from finegrain.cli.main import main
from finegrain.workload import recording as rec


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `finegrain workload`: (exit status, stdout, stderr)."""

    def workload(*words):
        monkeypatch.setattr(sys, "argv", ["finegrain", "workload", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return workload


def test_list_names_what_is_bundled(run):
    code, out, _ = run("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(rec.bundled())
    assert "make -j2" in out


def test_show_says_what_is_in_a_recording(run):
    code, out, err = run("show", "hello")
    assert (code, err) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in out.splitlines() if len(line.split()) > 1)
    assert facts["kind"] == "tracepoints"
    assert facts["processes"].startswith("4,562, at most ")
    assert facts["execs"] == "2,877"
    assert "faults per process" in out
    assert "/usr/lib/gcc/x86_64-linux-gnu/12/cc1" in out
    widths = [len(line) for line in out.splitlines()]
    assert max(widths) <= 110
    assert run("show", "hello")[1] == out


@pytest.mark.parametrize("name", ["none", "none.fgrec", "/"])
def test_show_of_what_is_no_recording(run, name):
    code, out, err = run("show", name)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert name in err
