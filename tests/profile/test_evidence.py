from typing import Any

import polars as pl
import pytest

from finegrain.profile.evidence import PARTITIONED, RANDOM, SINGLE, Evidence, evidence
from finegrain.profile.table import Builder, Profile

FIELDS = ("lock_class", "lock", "site", "role", "count", "contended", "wait_us", "address")


def profile(*rows: dict[str, Any], **meta: Any) -> Profile:
    builder = Builder(FIELDS, {"address": pl.String()})
    for row in rows:
        row = {"lock_class": "rw", "lock": "a", "role": "lock"} | row
        builder.add(tuple(row.get(field) for field in FIELDS))
    return Profile(source="p", format="test", system="test", table=builder.finish(), meta=meta)


def found(profile: Profile, lock: str = "a", **more: Any) -> dict[str, Evidence]:
    return {one.kind: one for one in evidence(profile, lock, lock_class="rw", **more)}


def test_nothing_is_made_of_nothing() -> None:
    assert found(profile({"count": 9, "wait_us": 3.0})) == {}


@pytest.mark.parametrize(
    ("waits", "case"),
    [
        ([9.0, 1.0, 1.0], SINGLE),
        ([9.0, 1.0], SINGLE),
        ([7.0, 3.0], RANDOM),
        ([3.0, 3.0, 4.0], RANDOM),
        ([4.0, *[0.5] * 12], None),
    ],
)
def test_locks_that_are_told_apart_by_address(waits: list[float], case: str | None) -> None:
    rows = [{"wait_us": wait, "address": f"ff{at}"} for at, wait in enumerate(waits)]
    told = found(profile(*rows, {"lock": "other", "wait_us": 99.0, "address": "aa"}))["addresses"]
    assert told.case == case
    assert told.figures["count"] == len(waits)
    assert told.figures["share"] == max(waits) / sum(waits)


def test_one_address_says_nothing_of_a_spread() -> None:
    assert found(profile({"wait_us": 3.0, "address": "ff"})) == {}


@pytest.mark.parametrize(
    ("contended", "case", "locks"),
    [(4, RANDOM, 128), (2, RANDOM, 256), (500, SINGLE, 1), (40, None, 12), (0, PARTITIONED, 256)],
)
def test_how_often_a_name_of_many_locks_is_found_held(contended: int, case: str | None, locks: int) -> None:
    one = profile({"count": 1000, "contended": contended})
    told = found(one, now=256, met=lambda locks: 0.512 / locks)["contended"]
    assert (told.case, told.figures["locks"]) == (case, locks)


def test_one_lock_or_a_missing_count_says_nothing_of_many() -> None:
    one = profile({"count": 1000, "contended": 3})
    assert "contended" not in found(one, now=1, met=lambda locks: 0.5)
    part = profile({"count": 1000, "contended": 3}, {"count": 1000})
    assert "contended" not in found(part, now=256, met=lambda locks: 0.5)


def test_a_simulated_holder_s_superpage() -> None:
    one = profile({"lock": "pmap pv list"}, pv_wait={"collision_us": 1.0, "sharing_us": 3.0})
    assert found(one, "pmap pv list")["sharing"] == Evidence("sharing", SINGLE, {"share": 0.75})
    assert "sharing" not in found(one, "a")
    one.meta["pv_wait"] = {"collision_us": 9.0, "sharing_us": 1.0}
    assert found(one, "pmap pv list")["sharing"].case == RANDOM
    for broken in ("x", {}, {"collision_us": 0.0, "sharing_us": 0}, {"collision_us": "1", "sharing_us": -2}):
        one.meta["pv_wait"] = broken
        assert found(one, "pmap pv list") == {}


def test_an_address_of_a_place_in_the_code_is_no_lock_s() -> None:
    rows = [{"role": "waiter", "site": "f", "address": at, "contended": 3} for at in ("ff", "fe")]
    assert "addresses" not in found(profile(*rows))


def test_places_where_waiters_and_holders_stood() -> None:
    rows = [
        {"role": "site", "site": "f", "wait_us": 6.0},
        {"role": "site", "site": "g", "wait_us": 2.0},
        {"role": "holder", "site": "g", "wait_us": 8.0},
    ]
    told = found(profile(*rows))
    assert told["callers"].figures == {"count": 2, "worst": "f", "share": 0.75, "holder": "g"}


def test_another_profile_may_have_another_word_for_the_class() -> None:
    rows = [{"lock_class": None, "wait_us": 3.0, "address": at} for at in ("ff", "fe")]
    other = profile(*rows, {"lock_class": None, "wait_us": 3.0, "address": "ff", "lock": "b"})
    assert found(other) == {}
    assert [one.kind for one in evidence(other, "a")] == ["addresses"]
