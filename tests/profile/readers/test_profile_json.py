import json
from typing import Any

import pytest

from finegrain.errors import UserError
from finegrain.profile.diff import diff_profiles
from finegrain.profile.readers.own_json import read_own
from finegrain.profile.table import Profile
from finegrain.report.diff import as_json as diff_json
from finegrain.report.profile import as_json
from read_sample import read

SECTION = "Adaptive mutex spin: 40 events in {} seconds (20 events/sec)\n"
STACKS = "nsec ------ Time Distribution ------ count Stack\n 512 |@@@ 3 g+0x1\n 1024 |@ 1 h+0x1\n"
LOCKSTAT = SECTION + "Count indv cuml rcnt nsec Lock Caller\n4 50% 50% 0.00 10 a f+0x1\n\n" + STACKS
OWNERS = " contended total wait pid owner\n\n 3 64.69 h -1 Unknown\n 1 20 ns 7 CPU 3/KVM\n"
PROFILING = "9 28 1000 7 500 2 15 0 28420 /usr/src/sys/b.c:6 (rw:a)\n"
PROFILING += "9 28 1000 7 500 2 15 0 28 /usr/src/sys/b.c:7 (rw:b)\n"


def again(text: str) -> list[Profile]:
    return read_own(text.encode(), "sample")[0]


@pytest.mark.parametrize(
    "text", [LOCKSTAT.format(2.0), OWNERS, PROFILING, LOCKSTAT.format(2.0) + LOCKSTAT.format(3.0)]
)
def test_what_is_shown_as_json_is_read_again_as_it_was(text: str) -> None:
    file = read(text)
    profiles, notes = read_own("".join(as_json(file, "lock", 0)).encode(), "sample")
    assert notes == file.notes
    for found, wanted in zip(profiles, file.profiles, strict=True):
        for name in ("name", "format", "system", "title", "span_s", "cpus", "derived", "meta"):
            assert getattr(found, name) == getattr(wanted, name)
        told = [
            column
            for column in wanted.table.columns
            if wanted.table[column].null_count() < wanted.table.height
        ]
        assert found.table.select(told).equals(wanted.table.select(told))


def test_the_profiles_of_a_comparison_are_read_again() -> None:
    profiles = [read(PROFILING).profiles[0], read(PROFILING.replace(" 7 500", " 9 500")).profiles[0]]
    profiles[0].source, profiles[1].source = "before", "after"
    for by in ("lock", "site", "class"):
        diff = diff_profiles(profiles, by=by)
        before, after = again("".join(diff_json(diff, [])))
        assert (before.label, after.label) == ("before", "after")
        assert (before.table["wait_us"].sum(), after.table["wait_us"].sum()) == (14.0, 18.0)
        assert diff_profiles([before, after], by=by).rows == diff.rows


def shown(**row: Any) -> str:
    return json.dumps({"schema": "finegrain.profile/1", "profiles": [{"rows": [{"lock": "a"} | row]}]})


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"wait_us": "x"}, r"profiles\[0\].rows\[0\].wait_us is not a number"),
        ({"wait_us": -1}, "wait_us is out of range"),
        ({"lock": 3}, "lock is not a string"),
        ({"role": "king"}, "role is none that finegrain knows"),
        ({"stack": "f"}, "stack is not a list"),
        ({"histogram_ns": [[1]]}, "histogram_ns is not a list of pairs"),
    ],
)
def test_rows_that_are_none_are_refused(row: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        again(shown(**row))


def test_control_characters_are_dropped() -> None:
    assert again(shown(lock="a\x1f\x1b[31m"))[0].table["lock"].to_list() == ["a[31m"]
