import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.workload import recording as rec

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


def test_a_child_that_does_not_exist(make_recording, tmp_path):
    path = tmp_path / "a.fgrec"
    rec.save(make_recording(ROWS, ["/bin/sh"]), path)
    stored = pl.read_parquet(path)
    meta = pl.read_parquet_metadata(path)[rec.METADATA_KEY]
    info = pl.when(pl.col("kind") == rec.FORK).then(2).otherwise(pl.col("info"))
    stored.with_columns(info=info.cast(pl.UInt32)).write_parquet(path, metadata={rec.METADATA_KEY: meta})
    refused(path, "damaged")


def test_an_output_that_cannot_be_written(saved):
    with pytest.raises(UserError, match="cannot write"):
        rec.save(saved[0], Path("/nonexistent/a.fgrec"))


def test_the_bundled_recordings_have_notes_and_are_small():
    names = rec.bundled()
    assert "hello" in names
    for path in names.values():
        assert path.stat().st_size <= 4_000_000
        assert path.with_suffix(".md").exists()


def test_the_bundled_recording_names_no_place_but_its_build():
    roots = {"/".join(name.split("/")[:3]) for name in rec.load("hello").files}
    assert roots <= {
        "/etc/ld.so.cache",
        "/usr/bin",
        "/usr/lib",
        "/usr/src",
        "[vdso]",
        "[vvar]",
        "[vvar_vclock]",
    }
