"""`finegrain record`, with the perf that is installed and with stand-ins for perf."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finegrain.cli.main import main
from finegrain.workload import program as pr
from finegrain.workload.compile import compile_program
from finegrain.workload.recording import load
from finegrain.workload.summary import summarize

# Does as perf does: `record` runs the command, `script` prints records of one process.
STAND_IN = """#!/bin/sh
case $1 in
--version) echo perf version 9.9 ;;
script) cat "$(dirname "$0")/printed" ;;
record)
    for word; do case $word in {refuses}) echo "No permission to $word" >&2; exit 255 ;; esac; done
    while [ "$1" != -- ]; do shift; done
    shift
    exec "$@" ;;
esac
"""
PRINTED = """\
 7/7   1.000000000: PERF_RECORD_COMM exec: make:7/7
 7/7   1.000001000: PERF_RECORD_MMAP2 7/7: [0x400000(0x2000) @ 0 fe:00 1 0]: r-xp /usr/bin/make
 7/7   1.000002000: page-faults:     400123
 7/7   1.000003000: PERF_RECORD_EXIT(7:7):(1:1)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a stand-in for perf on the path; give it the pattern of words that it refuses."""

    def install(refuses="nothing", printed=PRINTED):
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "perf").write_text(STAND_IN.format(refuses=refuses))
        (folder / "perf").chmod(0o755)
        (folder / "printed").write_text(printed)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return install


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    """Run `finegrain record` in an empty directory: (exit status, stdout, stderr, files left)."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def record(*words):
        monkeypatch.setattr(sys, "argv", ["finegrain", "record", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return ended.value.code, out, err, sorted(path.name for path in work.iterdir())

    return record


def refused(result, *words):
    code, out, err, files = result
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err
    assert files == []


def test_a_command_is_recorded(run, stand_in):
    stand_in()
    code, out, err, files = run("-o", "a.fgrec", "--", "sh", "-c", "echo built")
    assert (code, out, files) == (0, "built\n", ["a.fgrec"])
    assert err.startswith("finegrain: wrote a.fgrec: 4 events of 1 processes")
    assert "finegrain workload show a.fgrec" in err
    recording = load("a.fgrec")
    assert recording.kind == "tracepoints"
    assert recording.command == ["sh", "-c", "echo built"]
    assert recording.perf == "9.9"
    assert recording.files == ["/usr/bin/make"]


def test_software_events_where_tracepoints_are_refused(run, stand_in):
    stand_in(refuses="exceptions:*")
    code, _, err, _ = run("-o", "a.fgrec", "--", "true")
    assert code == 0
    assert load("a.fgrec").kind == "software"
    assert "tracefs" in err


def test_a_smaller_buffer_where_a_big_one_is_refused(run, stand_in):
    stand_in(refuses="-m")
    assert run("-o", "a.fgrec", "--", "true")[0] == 0
    assert load("a.fgrec").kind == "tracepoints"


def test_a_build_that_fails_keeps_its_status_and_its_recording(run, stand_in):
    stand_in()
    code, _, _, files = run("-o", "a.fgrec", "--", "sh", "-c", "exit 7")
    assert (code, files) == (7, ["a.fgrec"])
    assert load("a.fgrec").status == 7


def test_a_build_that_is_killed(run, stand_in):
    stand_in()
    assert run("-o", "a.fgrec", "--", "sh", "-c", "kill -9 $$")[0] == 128 + 9


def test_perf_is_absent(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(run("-o", "a.fgrec", "--", "true"), "perf is not installed", "linux-perf")


def test_perf_is_not_permitted(run, stand_in):
    stand_in(refuses="-e")
    refused(run("-o", "a.fgrec", "--", "true"), "No permission to -e", "perf_event_paranoid")


def test_perf_records_nothing(run, stand_in):
    stand_in(printed="")
    refused(run("-o", "a.fgrec", "--", "true"), "recorded nothing")


def test_no_such_command(run, stand_in):
    stand_in()
    refused(run("-o", "a.fgrec", "--", "no-such-command-anywhere"), "no-such-command-anywhere")


@pytest.mark.parametrize("output", ["/nonexistent/a.fgrec", "/", "."])
def test_an_output_that_cannot_be_written(run, stand_in, output):
    stand_in()
    refused(run("-o", output, "--", "touch", "built"), "cannot write")


def test_losses_are_said(run, stand_in):
    stand_in(printed=PRINTED + " 7/7   1.000004000: PERF_RECORD_LOST lost 12\n")
    code, _, err, _ = run("-o", "a.fgrec", "--", "true")
    assert code == 0
    assert "lost 12 records" in err


def perf_may_record():
    """Say whether the perf that is installed may record software events here."""
    if shutil.which("perf") is None:
        return False
    trial = ["perf", "record", "-q", "-o", "/dev/null", "-e", "page-faults", "--", "true"]
    return subprocess.run(trial, capture_output=True).returncode == 0


needs_perf = pytest.mark.skipif(not perf_may_record(), reason="perf is not installed or may not record here")


@needs_perf
def test_a_real_command_is_recorded_and_compiles(run):
    code, out, _, files = run("-o", "a.fgrec", "--", "sh", "-c", "cat /dev/null; echo built")
    assert (code, out, files) == (0, "built\n", ["a.fgrec"])
    recording = load("a.fgrec")
    summary = summarize(recording)
    assert summary.processes >= 2
    assert summary.execs >= 2
    assert any(name.endswith("/cat") for name, _ in summary.executables)
    assert sum(summary.faults.values()) > 50
    program = compile_program(recording)
    assert (program.op == pr.EXEC).sum() == summary.execs
    assert (program.op == pr.WAIT).sum() >= 1
    assert (program.op == pr.TOUCH).sum() > 50
    if recording.fixed_addresses:
        assert (program.user_ns < 10**9).all()


@needs_perf
def test_an_interrupt_stops_the_build_and_keeps_the_recording(tmp_path):
    output = tmp_path / "a.fgrec"
    script = "import sys; from finegrain.cli.main import main; main()"
    build = "touch started; cat /dev/null; sleep 60; touch finished"
    words = ["record", "-o", str(output), "--", "sh", "-c", build]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not (tmp_path / "finished").exists()
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == ["a.fgrec", "started"]
    assert load(output).status == 130
