import json
import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.report import recording as report
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program
from finegrain.workload.summary import summarize

DOCS = Path(__file__).parents[2] / "docs" / "recordings.md"
ROWS = [
    {"time": 0, "kind": rec.EXEC},
    {"time": 1200, "kind": rec.MAP, "page": 1 << 34, "pages": 3, "offset": 7, "info": 5, "file": 1},
    {"time": 2000, "kind": rec.FORK, "info": 1},
    {"time": 2500, "kind": rec.FAULT, "process": 1, "thread": 2, "page": 1 << 34},
    {"time": 90_000_000_000_000, "kind": rec.EXIT, "process": 1},
]


@pytest.fixture
def saved(make_recording, tmp_path):
    """A recording and the file that it is in."""
    recording = make_recording(ROWS, ["/bin/sh"], lost=3, fixed_addresses=True, perf="6.1", date="2020-02-02")
    path = tmp_path / "a.fgrec"
    rec.save(recording, path)
    return recording, path


def refused(path, *words):
    with pytest.raises(UserError) as error:
        rec.load(path)
    message = str(error.value)
    assert "\n" not in message
    for word in (path.name, *words):
        assert word in message


def same(a, b):
    assert a.events.equals(b.events)
    for name in (*rec._META, "paths", "checked"):
        assert getattr(a, name) == getattr(b, name)


def test_what_is_saved_is_read_back(saved):
    recording, path = saved
    same(rec.load(path), recording)
    assert rec.load(path).name == str(path)
    assert [p.name for p in path.parent.iterdir()] == ["a.fgrec"]


PATHS = ["/", "/a", "/a/b c", "/a/b c/\N{SNOWMAN}", "/d"]
REFERRING = (rec.FORK, rec.WAIT, rec.SETPGID, rec.KILLPG, rec.PIPE, rec.READ, rec.WRITE, rec.CLOSE)


@st.composite
def sound_row(draw):
    """A row with any values that its kind may have, but for those that refer to processes and pipes."""
    kind = draw(st.integers(rec.FAULT, rec.FILE_EXEC).filter(lambda kind: kind not in REFERRING))
    limits = rec._LIMITS[kind]
    row = {name: draw(st.integers(0, limit - 1)) for name, limit in limits.items()}
    if kind in rec._MEMORY and "pages" in row:
        row["pages"] = min(row["pages"], rec._PAGES - row["page"])
    if kind == rec.MAP:
        row["file"] = draw(st.integers(0, 2))
    if kind >= rec.FILE_OPEN:
        row |= {name: draw(st.integers(0, len(PATHS))) for name in ("path", "path2")}
        row["error"] = draw(st.integers(0, 4095))
    time = draw(st.integers(0, 10**9)) * rec.TIME_UNIT_NS
    return row | {
        "kind": kind,
        "time": time,
        "process": draw(st.integers(0, 3)),
        "thread": draw(st.integers(0, 2)),
    }


@settings(max_examples=50, deadline=None)
@given(st.lists(sound_row(), min_size=4, max_size=20))
def test_any_rows_are_read_back(make_recording, tmp_path_factory, rows):
    recording = make_recording(rows, ["/a", "/b"], paths=PATHS)
    path = tmp_path_factory.mktemp("any") / "any.fgrec"
    rec.save(recording, path)
    same(rec.load(path), recording)


def test_the_same_recording_gives_the_same_bytes(saved):
    recording, path = saved
    first = path.read_bytes()
    rec.save(recording, path)
    assert path.read_bytes() == first


def test_missing(tmp_path):
    refused(tmp_path / "none.fgrec", "no recording", "hello")


@pytest.mark.parametrize("part", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated(saved, part):
    path = saved[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    refused(path)


def test_damaged_inside(saved):
    path = saved[1]
    whole = bytearray(path.read_bytes())
    for i in range(20, len(whole) - 2000, 7):
        whole[i] ^= 0xFF
    path.write_bytes(whole)
    refused(path, "damaged")


def test_text_is_not_a_recording(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("PERFILE2 and more, but not ours")
    refused(path, "not a finegrain recording", "finegrain record")


def test_a_directory_is_not_a_recording(tmp_path):
    refused(tmp_path, "cannot read")


def test_another_parquet_file_is_not_a_recording(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    refused(path, "Parquet")


def with_metadata(path, **changes):
    meta = json.loads(pl.read_parquet_metadata(path)[rec.METADATA_KEY]) | changes
    meta = {key: value for key, value in meta.items() if value is not None}
    pl.read_parquet(path).write_parquet(path, metadata={rec.METADATA_KEY: json.dumps(meta)})


def test_another_version_is_refused_by_name(saved):
    with_metadata(saved[1], schema="finegrain.recording/99")
    refused(saved[1], "finegrain.recording/99", rec.SCHEMA)


@pytest.mark.parametrize(
    "changes", [{"events": 4}, {"processes": 1}, {"files": []}, {"kind": None}, {"processes": "2"}]
)
def test_metadata_that_does_not_fit_the_rows(saved, changes):
    with_metadata(saved[1], **changes)
    refused(saved[1], "damaged")


def test_a_kind_that_does_not_exist(make_recording, tmp_path):
    path = tmp_path / "a.fgrec"
    rec.save(make_recording([{"time": 0, "kind": 99}]), path)
    refused(path, "damaged")


def resealed(path, rows=None, **changes):
    """Change values in row `rows[0]`, and metadata, and put the right checksum on it: as somebody malicious would."""
    meta = json.loads(pl.read_parquet_metadata(path)[rec.METADATA_KEY]) | changes
    stored = pl.read_parquet(path)
    if rows is not None:
        at, values = rows
        table = stored.to_dict(as_series=False)
        for column, value in values.items():
            table[column][at] = value
        stored = pl.DataFrame(table, schema=stored.schema)
    meta["checksum"] = rec._checksum(meta, stored)
    stored.write_parquet(path, metadata={rec.METADATA_KEY: json.dumps(meta)})


def test_a_bit_that_flipped_is_found(saved):
    path = saved[1]
    meta = pl.read_parquet_metadata(path)[rec.METADATA_KEY]
    stored = pl.read_parquet(path).with_columns(
        page=pl.col("page") + (pl.col("kind") == rec.MAP).cast(pl.UInt64)
    )
    stored.write_parquet(path, metadata={rec.METADATA_KEY: meta})
    refused(path, "checksum")


PATHS_AT, EXEC_AT, MAP_AT, FORK_AT, FAULT_AT = 0, 4, 5, 6, 7  # rows of a `hostile` recording


@pytest.fixture
def hostile(make_recording, tmp_path):
    """The file of a recording to be changed: three paths and a root, then ROWS and a file call."""
    path = tmp_path / "a.fgrec"
    opened = {"time": 5000, "kind": rec.FILE_OPEN, "path": 3, "error": 2}
    paths = ["/", "/usr", "/usr/bin", "/usr/lib"]
    rec.save(make_recording([*ROWS[:3], opened, *ROWS[3:]], ["/bin/sh"], paths=paths), path)
    resealed(path)
    assert rec.load(path).paths == paths
    return path


@pytest.mark.parametrize(
    ("at", "values", "words"),
    [
        (FORK_AT, {"info": 2}, "process"),
        (FORK_AT, {"info": 0}, "forked"),
        (MAP_AT, {"page": 1 << 35}, "page"),
        (MAP_AT, {"page": (1 << 35) - 1}, "address space"),
        (MAP_AT, {"pages": 1 << 63}, "pages"),
        (MAP_AT, {"file": 2}, "mapped file"),
        (EXEC_AT, {"file": 1}, "mapped file"),
        (EXEC_AT, {"info": 1}, "info"),
        (EXEC_AT, {"path": 1}, "path"),
        (EXEC_AT, {"error": 1}, "error"),
        (EXEC_AT, {"thread": 1 << 30}, "thread"),
        (EXEC_AT, {"after": 1 << 62}, "times"),
        (EXEC_AT, {"after": -1}, "times"),
        (EXEC_AT, {"name": "x", "kind": rec.PATH}, "paths"),
        (FAULT_AT, {"kind": rec.FILE_EXEC + 1}, "kind"),
        (FAULT_AT, {"kind": rec.READ, "path": 0, "error": 0}, "pipe"),
        (FAULT_AT, {"path": 5}, "path"),
        (FAULT_AT, {"error": 4096}, "error"),
        (PATHS_AT + 1, {"path": 2}, "paths"),
        (PATHS_AT + 1, {"path": 3}, "paths"),
        (PATHS_AT + 1, {"name": ".."}, "paths"),
        (PATHS_AT + 1, {"name": "a/b"}, "paths"),
        (PATHS_AT + 3, {"name": "bin"}, "paths"),
    ],
)
def test_values_that_cannot_be(hostile, at, values, words):
    resealed(hostile, (at, values))
    refused(hostile, "damaged", words)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": True}, {"status": 256}, {"processes": 1 << 40}, {"processes": 100}, {"lost": -1}, {"cpus": -1},
        {"duration_ns": 9 * 10**14}, {"duration_ns": 0}, {"page_size": 1}, {"kind": "other"}, {"command": [1]},
        {"files": ["x" * 100_000]}, {"perf": "x" * 1000}, {"lacks": ["all"]}, {"lacks": 1}, {"fixed_addresses": 1},
    ],
)  # fmt: skip
def test_metadata_that_cannot_be(hostile, changes):
    resealed(hostile, **changes)
    refused(hostile, "damaged")


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 9),
    st.dictionaries(
        st.sampled_from(sorted(set(rec._STORED) - {"name"})),
        st.one_of(st.integers(0, 70), st.integers(0, 64).map(lambda bit: (1 << bit) - 1)),
        max_size=3,
    ),
)
def test_insane_values_are_refused_or_make_a_program(make_recording, tmp_path_factory, at, values):
    path = tmp_path_factory.mktemp("insane") / "a.fgrec"
    rec.save(make_recording(ROWS, ["/bin/sh"], paths=["/", "/a"]), path)
    bits = {pl.UInt8(): 8, pl.UInt16(): 16, pl.UInt32(): 32, pl.UInt64(): 64, pl.Int64(): 63}
    values = {name: value & ((1 << bits[rec._STORED[name]]) - 1) for name, value in values.items()}
    resealed(path, (at % 7, values))
    try:
        recording = rec.load(path)
    except UserError:
        return
    compile_program(recording)
    report.text(recording, summarize(recording))


def test_a_fifo_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "fifo", "not a regular file")


@pytest.mark.parametrize("format_", rec.OLD_SCHEMAS)
def test_older_formats_are_read_and_lack_what_they_lack(saved, format_):
    recording, path = saved
    meta = json.loads(pl.read_parquet_metadata(path)[rec.METADATA_KEY]) | {"schema": format_}
    del meta["lacks"], meta["checksum"]
    stored = pl.read_parquet(path).drop("path", "path2", "error", "name")
    stored.write_parquet(path, metadata={rec.METADATA_KEY: json.dumps(meta)})
    old = rec.load(path)
    assert old.events.equals(recording.events)
    assert (old.lacks, old.checked, old.paths) == (rec.OLD_SCHEMAS[format_], False, [])


def test_an_output_that_cannot_be_written(saved):
    with pytest.raises(UserError, match="cannot write"):
        rec.save(saved[0], Path("/nonexistent/a.fgrec"))


BUNDLED = ["compile", "configure", "hello", "stage", "threads"]


def test_the_bundled_recordings():
    assert list(rec.bundled()) == BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_recording_is_small_loads_and_has_notes(name):
    path = rec.bundled()[name]
    assert path.stat().st_size <= 4_000_000
    assert path.with_suffix(".md").read_text().startswith(f"# {name}.fgrec\n")
    assert f"\n| `{name}` |" in DOCS.read_text()
    recording = rec.load(name)
    assert (recording.kind, recording.status, recording.lost) == ("tracepoints", 0, 0)
    if name != "hello":  # of format 2
        assert recording.lacks == []
        facts = summarize(recording)
        assert facts.nameless <= 0.01 * facts.lookups
        assert (facts.threads > 0) == (name != "stage")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_recording_names_no_place_but_its_build(name):
    recording = rec.load(name)
    folders = {"/".join(path.split("/")[:3]) for path in recording.files if path.startswith("/")}
    allowed = {"/etc/ld.so.cache", "/usr/bin", "/usr/include", "/usr/lib", "/usr/local"}
    build = "/usr/src" if name == "hello" else "/tmp/build"
    assert {path for path in folders if not path.startswith("/tmp/rustc")} <= allowed | {build}
    # the system's own, the build's, and what a configure looks for and does not find
    roots = {
        "bin",
        "dev",
        "etc",
        "include",
        "lib",
        "lib64",
        "opt",
        "proc",
        "run",
        "sbin",
        "sys",
        "tmp",
        "usr",
    }
    assert {path.split("/")[1] for path in recording.paths} <= roots | {"", ".attbin", "bin;"}
