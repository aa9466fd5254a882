import dataclasses
from pathlib import Path

import polars as pl

from finegrain.report import recording as report
from finegrain.workload import recording as rec
from finegrain.workload.recording import Recording
from finegrain.workload.summary import summarize

ROWS = [
    {"process": 0, "time": 0, "kind": rec.EXEC},
    {"process": 0, "time": 1000, "kind": rec.FAULT, "page": 7, "info": rec.FAULT_WRITE},
    {"process": 0, "time": 2000, "kind": rec.FAULT, "page": 7, "info": rec.FAULT_WRITE | rec.FAULT_PRESENT},
    {"process": 0, "time": 3000, "kind": rec.EXIT},
]
RECORDING = Recording(
    kind="tracepoints",
    command=["sh", "-c", "make all"],
    status=0,
    events=pl.DataFrame([dict.fromkeys(rec.COLUMNS, 0) | row for row in ROWS]).cast(rec.COLUMNS),  # type: ignore[arg-type]
    files=["/bin/sh"],
    processes=1,
    duration_ns=2_500_000_000,
    lost=0,
    cpus=2,
    fixed_addresses=True,
    perf="6.1",
    date="2020-02-02",
    name="a",
)


def test_what_is_in_a_recording() -> None:
    lines = report.text(RECORDING, summarize(RECORDING)).splitlines()
    facts = {line[:24].strip(): line[25:] for line in lines}
    assert facts["command"] == "sh -c 'make all'"
    assert facts["duration"].startswith("2.5 s, ")
    assert facts["faults"] == "2, 0 of them by the kernel"
    assert facts["write, not present"] == "1"
    assert facts["write, protection"] == "1"
    assert lines[-3] == "        2 to 3               1  " + "#" * 40


def test_file_calls_and_pipes() -> None:
    rows = [
        {"kind": rec.FILE_OPEN, "path": 2},
        {"kind": rec.FILE_OPEN, "error": 2},
        {"kind": rec.FILE_READ, "path": 2, "pages": 10},
        {"kind": rec.PIPE},
        {"kind": rec.WRITE, "pages": 1234},
        {"kind": rec.READ, "pages": 0},
    ]
    events = pl.DataFrame([dict.fromkeys(rec.COLUMNS, 0) | row for row in rows]).cast(rec.COLUMNS)  # type: ignore[arg-type]
    recording = dataclasses.replace(RECORDING, events=events, paths=["/", "/a"])
    facts = {
        line[:24].strip(): line[25:] for line in report.text(recording, summarize(recording)).splitlines()
    }
    assert facts["file calls"] == "3, of 2 paths"
    assert facts["without a name"] == "1 of 2 lookups, 50.0%"
    assert facts["opens"] == "2, 1 failed"
    assert facts["pipes"] == "1"
    assert facts["writes"] == "1, 1,234 bytes"
    old = dataclasses.replace(RECORDING, lacks=list(rec.LACKS), checked=False)
    facts = {line[:24].strip(): line[25:] for line in report.text(old, summarize(old)).splitlines()}
    assert (facts["file calls"], facts["pipes"]) == ("not recorded", "not recorded")
    assert "not recorded" in facts["more threads"]
    assert facts["checksum"].startswith("none")


def test_what_a_terminal_would_obey_is_escaped() -> None:
    evil = dataclasses.replace(
        RECORDING, command=["\x1b[2J\u202e", "x" * 500], files=["/a\nb\udcff"], date="\x07", perf="\x9b"
    )
    rows = [{"kind": rec.EXEC}, {"kind": rec.MAP, "pages": 1, "info": rec.MAP_EXEC, "file": 1}]
    events = pl.DataFrame([dict.fromkeys(rec.COLUMNS, 0) | row for row in rows]).cast(rec.COLUMNS)  # type: ignore[arg-type]
    evil = dataclasses.replace(evil, events=events)
    text = report.text(evil, summarize(evil))
    assert all(c == "\n" or c.isprintable() for c in text)
    assert "/a\\nb\\udcff" in text
    assert max(map(len, text.splitlines())) < 230


def test_recordings_in_a_list(tmp_path: Path) -> None:
    path = tmp_path / "a.fgrec"
    path.write_bytes(bytes(1_500_000))
    line = "a                tracepoints       1 processes     2.5 s   1.5 MB  sh -c 'make all'"
    assert report.listing({path: RECORDING}) == line


def test_what_was_made_and_what_it_lacks() -> None:
    said = report.written(RECORDING, Path("a.fgrec"))
    assert said.startswith("finegrain: wrote a.fgrec: 4 events of 1 processes in 2.5 s (tracepoints)")
    assert said.endswith("look at it with: finegrain workload show a.fgrec")
    lacking = dataclasses.replace(RECORDING, lacks=["file calls"])
    assert report.written(lacking, Path("a.fgrec"), "not root").endswith("finegrain: no file calls: not root")
    poor = dataclasses.replace(RECORDING, kind="software", lost=1234)
    _, inferred, lost = report.written(poor, Path("a.fgrec")).splitlines()
    assert inferred.startswith("finegrain: tracepoints are not to be had here")
    assert lost.startswith("finegrain: perf lost 1,234 records")
