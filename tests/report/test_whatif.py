import json
from dataclasses import replace

import polars as pl

from finegrain.profile.whatif import Split, whatif
from finegrain.report.whatif import as_json, text
from make_profile import BUSY, holds_profile


def test_the_lock_that_saturates_next() -> None:
    page = text(whatif(BUSY, [Split("pv list", 1, 16)]))
    assert "Saturates next: sx:map, held 30.00% of the time: full at 3.33 x" in page
    assert "rw:objects (2 at a time)" in page


def test_without_cpus_threads_have_no_end() -> None:
    answer = whatif(holds_profile({"rw:a": (1000, 5e5, None)}, span_s=1.0), [Split("a", 1, 2)])
    assert "without end" in text(answer)


def test_assumptions_are_printed_and_json_holds_everything() -> None:
    silent = replace(BUSY, span_s=None)
    answer = whatif(silent, [Split("pv list", 1, 512), Split("sx:map", 1, 2)], cpus=16, span=10.0)
    page = text(answer)
    assert "exclusive" in page
    assert "16 threads, each" in page
    document = json.loads(as_json(answer))
    assert [split["then"] for split in document["splits"]] == [512, 2]
    assert document["span_s"] == 10.0
    assert "16 threads, each" in document["assumptions"][0]


def test_whose_cpus_they_are_is_said() -> None:
    assert "104 threads, the profile's CPUs, each" in text(whatif(BUSY, [Split("pv list", 1, 512)]))


def test_three_cases_and_what_speaks_for_which() -> None:
    many = text(whatif(BUSY, [Split("pv list", 16, 104)]))
    assert next(line for line in many.splitlines() if "all on one" in line).endswith(" 5,000,000")
    silent = text(whatif(BUSY, [Split("pv list", 1, 104)]))
    lines = {" ".join(line.split()) for line in silent.splitlines()}
    assert "split, partitioned use 104 0 0.00% 0" in lines
    assert any(line.startswith("split, random use 104 ") for line in lines)
    assert any(
        line.startswith("split, all on one 104 ") and line.endswith("100.00% 5,000,000") for line in lines
    )
    assert "Nothing in the profile says." in silent
    assert "perf lock contention -l" in silent
    told = replace(BUSY, table=BUSY.table.with_columns(contended=3), meta={"pv_wait": {"collision_us": 1.0}})
    objects = BUSY.table.with_columns(site=pl.lit("f"), role=pl.lit("lock"))
    objects = pl.concat([objects.with_columns(address=pl.lit(name)) for name in ("ff", "fe")])
    points = BUSY.table.with_columns(site=pl.lit("f"), role=pl.lit("waiter"))
    others = [replace(BUSY, table=objects), replace(BUSY, table=points)]
    page = text(whatif(replace(told, span_s=2.0), [Split("pv list", 16, 104)], others=others))
    for line in (
        "2 locks are told apart, 50% of it at fe: as of 2 used evenly: speaks for random use",
        "0.00% of acquisitions found it held; random use says",
        "speaks for partitioned use",
        "waiters stood at 1 place, 100% at f: speaks for none by itself",
    ):
        assert line in page
    assert "What would say" not in page


def test_a_case_that_cannot_keep_up_is_not_told() -> None:
    full = holds_profile({"rw:a": (1000, 3e6, 5e6)}, span_s=1.0)
    answer = whatif(full, [Split("a", 4, 8)])
    lines = {" ".join(line.split()) for line in text(answer).splitlines()}
    assert "split, all on one 8 - - -" in lines
    assert json.loads(as_json(answer))["splits"][0]["single_us"] is None
