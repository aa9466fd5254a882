import contextlib
import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.profile.diff import diff_profiles
from finegrain.profile.group import BY
from finegrain.profile.read import File
from finegrain.profile.readers.profile_json import holds, read_stored
from finegrain.profile.whatif import Split, whatif
from finegrain.report.profile import as_json
from finegrain.report.profile import text as show
from read_sample import read

FREEBSD = """\
max wait_max total wait_total count avg wait_avg cnt_hold cnt_lock name
9 28 1000 2500 500 2 15 0 100 /a.c:6 (rw:a)
7 20 10 300 5 2 15 0 3 /b.c:7 (sx:=b|c)
9 28 1000 2500
"""
LOCKSTAT = """\
Adaptive mutex block: 12 events in 2.000 seconds (6 events/sec)

      Count     nsec Lock                   Caller
-------------------------------------------------------------------------------
Count indv cuml rcnt     nsec Lock                   Caller
    5  50%  50% 0.00     1041 pipe                   pipe_read+0x10

      nsec ------ Time Distribution ------ count     Stack
      1024 |@@@@@@@@                       2         syscall+0x3
      2048 |@@@@@@@@@@@@@@@@               3
"""
COMPARE = {
    "schema": "finegrain.compare/1",
    "machine": {"kind": "simulated", "cpus": 104},
    "simulated_seconds": 2.0,
    "designs": [
        {
            "name": name,
            "pv_wait": {"collision_us": 1.0, "sharing_us": 2.0},
            "locks": [
                {
                    "lock": "rw:pmap pv list",
                    "acquisitions": 10,
                    "contested": 5,
                    "wait_us": 9.5,
                    "wait_histogram_ns": [[1024, 3], [2048, 2]],
                    "points": [{"site": "f", "acquisitions": 4, "wait_us": 3.0}],
                    "held_by": [["g", 2.5]],
                }
            ],
        }
        for name in ("head", "superpage")
    ],
}


def stored(text: str, by: str = "lock") -> tuple[File, bytes]:
    file = read(text)
    return file, "".join(as_json(file, by, 0)).encode()


@pytest.mark.parametrize("text", [FREEBSD, LOCKSTAT, json.dumps(COMPARE)])
@pytest.mark.parametrize("by", ["lock", "row"])
def test_a_profile_is_read_again_as_it_was_read(text: str, by: str) -> None:
    file, data = stored(text, by)
    assert holds(data)
    profiles, notes = read_stored(data, "base.json")
    assert len(profiles) == len(file.profiles)
    for one, other in zip(profiles, file.profiles, strict=True):
        told = [name for name in other.table.columns if other.table[name].null_count() < other.table.height]
        assert one.table.select(told).to_dicts() == other.table.select(told).to_dicts()
        for name in ("format", "system", "label", "title", "span_s", "cpus", "derived", "meta"):
            assert getattr(one, name) == getattr(other, name)
        assert one.source == "base.json"
    assert {name: texts[:2] for name, texts in notes.items()} == {
        name: texts[:2] for name, texts in file.notes.items()
    }


def test_a_stored_profile_is_one_of_any_other_to_the_commands() -> None:
    file, data = stored(FREEBSD)
    again = read(data.decode())
    assert again.notes["FreeBSD LOCK_PROFILING"][-1] == "1 broken rows of sample were left out"
    comparison = diff_profiles([file.profiles[0], again.profiles[0]])
    assert comparison.notes == []
    assert all(before == after for _, (before, after) in comparison.rows)
    document = json.loads(data)
    document["profiles"] *= 2
    sorted_twice = read(json.dumps(document, sort_keys=True, indent=4))
    assert [profile.name for profile in sorted_twice.profiles] == ["sample#1", "sample#2"]
    assert pl.concat([profile.table for profile in sorted_twice.profiles]).height == 4


def test_a_schema_of_another_command_is_not_ours() -> None:
    assert not holds(json.dumps(COMPARE).encode())


def change(document: Any, path: list[Any], value: Any) -> None:
    for step in path[:-1]:
        document = document[step]
    document[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (["schema"], "finegrain.profile/99", "schema 'finegrain.profile/99' is not"),
        (["profiles"], [], "no profile in it"),
        (["profiles"], {}, "profiles is not a list"),
        (["profiles", 0], 3, r"profiles\[0\] is not an object"),
        (["profiles", 0, "rows"], [], "rows is empty"),
        (["profiles", 0, "rows", 1], [], r"rows\[1\] is not an object"),
        (["profiles", 0, "rows", 1, "role"], "king", "role is not one of lock"),
        (["profiles", 0, "rows", 1, "wait_us"], "3", "wait_us is not a number"),
        (["profiles", 0, "rows", 1, "wait_us"], -3, "wait_us is out of range"),
        (["profiles", 0, "rows", 1, "wait_us"], True, "wait_us is not a number"),
        (["profiles", 0, "rows", 1, "count"], 3.5, "count is not a whole number"),
        (["profiles", 0, "rows", 1, "count"], 1 << 70, "count is out of range"),
        (["profiles", 0, "rows", 1, "lock"], 3, "lock is not a string"),
        (["profiles", 0, "rows", 1, "stack"], "f", "stack is not a list"),
        (["profiles", 0, "rows", 1, "stack"], [3], "stack is not a string"),
        (["profiles", 0, "rows", 1, "histogram_ns"], [3], "histogram_ns is not a list of pairs"),
        (["profiles", 0, "rows", 1, "No column"], 3, "is no column of a profile"),
        (["profiles", 0, "rows", 1, "more"], {"a": 3}, "more is not a list"),
        (["profiles", 0, "span_s"], "9", "span_s is not a number"),
        (["notes"], [3], "notes is not an object"),
    ],
)
def test_what_is_not_whole_is_refused_in_one_line(path: list[Any], value: Any, why: str) -> None:
    document = json.loads(stored(FREEBSD)[1])
    change(document, path, value)
    with pytest.raises(UserError, match=f"base.json: .*{why}") as refused:
        read_stored(json.dumps(document).encode(), "base.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [b'{"schema": "finegrain.profile/1"', b"[" * 100_000])
def test_broken_json_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match="not JSON that can be read"):
        read_stored(data, "base.json")


def test_numbers_that_are_none_are_no_numbers() -> None:
    data = stored(FREEBSD)[1].replace(b"2500.0", b"NaN")
    with pytest.raises(UserError, match="wait_us is out of range"):
        read_stored(data, "base.json")


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path] * bool(path) + [found for key, inner in members for found in paths(inner, (*path, key))]


WHOLE = json.loads(stored(json.dumps(COMPARE))[1])
WRONG = st.sampled_from(
    [None, True, -1, 1 << 64, 1e308, 2.5, "", "x\n", [], [[]], [[1, 2]], {}, {"a": [None]}]
)


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(paths(WHOLE)), value=WRONG)
def test_anything_wrong_is_refused_or_of_no_account(path: tuple[Any, ...], value: Any) -> None:
    document = json.loads(json.dumps(WHOLE))
    change(document, list(path), value)
    refused = False
    try:
        profiles, _ = read_stored(json.dumps(document).encode(), "base.json")
    except UserError as error:
        refused = "\n" not in str(error)
    if refused:
        return
    file = File("base.json", profiles)
    for by in BY:
        assert all(char == "\n" or char.isprintable() for char in show(file, by, 0))
        json.loads("".join(as_json(file, by, 0)))
    with contextlib.suppress(UserError):
        whatif(profiles[0], [Split("pmap pv list", 1, 2)], span=1.0)
