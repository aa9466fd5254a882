"""`finegrain record`, with the perf that is installed and with stand-ins for perf."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from finegrain.cli.main import main
from finegrain.workload import perf
from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program
from finegrain.workload.probes import TRACEFS, name_probes
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


def probes_may_be_made():
    """Say whether names can be recorded here: as root, with uprobes."""
    return perf_may_record() and any(os.access(root / "uprobe_events", os.W_OK) for root in TRACEFS)


needs_probes = pytest.mark.skipif(not probes_may_be_made(), reason="no uprobes, or not root")


def no_probes_are_left():
    """Say whether this process has left none of its probes."""
    controls = [root / "uprobe_events" for root in TRACEFS if (root / "uprobe_events").exists()]
    return all(f"finegrain_{os.getpid()}_" not in control.read_text() for control in controls)


@needs_probes
def test_file_calls_of_a_real_command_have_their_names(run, tmp_path):
    (tmp_path / "d").mkdir()
    script = (
        "cd ../d && echo a > f; mv f g; cat g nothing; (cd /; test -e etc); ln -s g s; rm g s; cd ..; rmdir d"
    )
    code, _, err, _ = run("-o", "a.fgrec", "--", "sh", "-c", script)
    assert code == 0, err
    recording = load("a.fgrec")
    assert recording.lacks == []
    found = {
        (kind, recording.paths[path - 1] if path else None, error)
        for kind, path, error in recording.events.select("kind", "path", "error").iter_rows()
    }
    d = str(tmp_path / "d")
    assert found >= {
        (rec.FILE_CHDIR, d, 0),
        (rec.FILE_OPEN, f"{d}/f", 0),
        (rec.FILE_WRITE, f"{d}/f", 0),
        (rec.FILE_RENAME, f"{d}/f", 0),
        (rec.FILE_OPEN, f"{d}/g", 0),
        (rec.FILE_READ, f"{d}/g", 0),
        (rec.FILE_OPEN, f"{d}/nothing", 2),
        (rec.FILE_STAT, "/etc", 0),
        (rec.FILE_SYMLINK, f"{d}/s", 0),
        (rec.FILE_UNLINK, f"{d}/g", 0),
        (rec.FILE_RMDIR, d, 0),
    }
    assert summarize(recording).nameless == 0
    assert no_probes_are_left()
    compile_program(recording)


@needs_probes
def test_threads_of_a_real_command(run):
    script = (
        "import os, threading; t = threading.Thread(target=os.access, args=['/no', 0]); t.start(); t.join()"
    )
    run("-o", "a.fgrec", "--", sys.executable, "-ISc", script)
    events = load("a.fgrec").events
    begun = events.filter(pl.col("kind") == rec.THREAD)
    assert begun["info"].to_list() == [1]
    assert begun["offset"].to_list()[0] & 0x10100 == 0x10100  # CLONE_THREAD, CLONE_VM
    assert (events["kind"] == rec.THREAD_EXIT).sum() == 1  # of whichever exits first
    accesses = events.filter((pl.col("kind") == rec.FILE_ACCESS) & (pl.col("thread") == 1))
    assert accesses["error"].to_list() == [2]


@needs_probes
def test_where_probes_are_refused_the_rest_is_recorded_and_it_is_said(run, monkeypatch):
    monkeypatch.setattr(perf, "name_probes", lambda programs: name_probes(programs, [Path("/nonexistent")]))
    code, _, err, _ = run("-o", "a.fgrec", "--", "sh", "-c", "cat /dev/null")
    assert code == 0
    assert "no file calls: " in err
    recording = load("a.fgrec")
    assert recording.lacks == ["file calls"]
    assert recording.paths == []
    assert not (recording.events["kind"] >= rec.FILE_OPEN).any()


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


def test_a_recorder_that_is_killed_ends_its_build(tmp_path, stand_in):
    stand_in()
    script = "import sys; from finegrain.cli.main import main; main()"
    build = "echo $$ > pid; mv pid started; exec sleep 60"
    words = ["record", "-o", "a.fgrec", "--", "sh", "-c", build]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    state = Path("/proc", (tmp_path / "started").read_text().strip(), "stat")
    assert state.exists()
    process.kill()
    process.wait(timeout=60)
    deadline = time.monotonic() + 20

    def running():
        try:
            return state.read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    while running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running()
