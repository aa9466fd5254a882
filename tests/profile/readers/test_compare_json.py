import json
from typing import Any

import pytest

from finegrain.errors import UserError
from finegrain.profile.group import grouped
from finegrain.profile.readers.own_json import read_own
from finegrain.profile.table import Profile
from finegrain.profile.whatif import Split, whatif
from finegrain.report.result import as_dict
from finegrain.report.sweep import as_json
from finegrain.study.result import PV_LIST
from finegrain.study.sweep import SweepResult
from make_result import make_result


def read(document: Any) -> list[Profile]:
    return read_own(json.dumps(document).encode(), "out.json")[0]


def comparison(cpus: int = 104, *designs: str, **more: Any) -> dict[str, Any]:
    """A document of the first schema, with one lock a design, taken 10 times."""
    lock = {"lock": "rw:a", "acquisitions": 10, "contested": 5, "wait_us": 9.0, "hold_us": 5e5}
    return {
        "schema": "finegrain.compare/1",
        "machine": {"kind": "simulated", "cpus": cpus},
        "simulated_seconds": 2.0,
        "designs": [{"name": name, "locks": [lock]} for name in designs or ("head",)],
    } | more


def sweep(*comparisons: dict[str, Any]) -> dict[str, Any]:
    return {"schema": "finegrain.sweep/1", "comparisons": list(comparisons)}


def test_a_profile_is_a_design_and_has_its_figures() -> None:
    result = make_result()
    head, superpage = read(as_dict(result))
    assert (head.label, superpage.label) == ("head", "superpage")
    assert (head.span_s, head.cpus) == (2.0, 104)
    for profile, design in zip((head, superpage), result.designs, strict=True):
        rows = {row["name"]: row for row in grouped(profile, "lock").table.to_dicts()}
        assert list(rows) == [lock.lock for lock in design.locks]
        for lock in design.locks:
            row = rows[lock.lock]
            assert (row["wait_us"], row["hold_us"]) == (lock.wait_us, lock.hold_us)
            assert (row["count"], row["contended"]) == (lock.acquisitions, lock.contested)


@pytest.mark.parametrize("schema", [f"finegrain.compare/{number}" for number in (1, 2, 3, 4)])
def test_both_schemas_are_read(schema: str) -> None:
    assert len(read(comparison(schema=schema))) == 1


def test_figures_of_replications_are_of_all_their_time() -> None:
    (once,), (thrice,) = read(comparison()), read(comparison(replications=3))
    assert (once.span_s, thrice.span_s) == (2.0, 6.0)
    # held half a second of every one: three times as much in three times the time
    three = comparison(replications=3)
    three["designs"][0]["locks"][0] |= {"acquisitions": 30, "hold_us": 15e5}
    estimates = [whatif(profile, [Split("a", 1, 2)]).estimates[0] for profile in (once, *read(three))]
    assert estimates[0].use == pytest.approx(0.25)
    assert estimates[1].use == pytest.approx(estimates[0].use)
    assert estimates[1].model_us == pytest.approx(3 * estimates[0].model_us)


def test_acquisition_points_are_told() -> None:
    (head, _) = read(as_dict(make_result()))
    sites = grouped(head, "site")
    assert (sites.by, sites.notes) == ("site", [])
    (row,) = [row for row in sites.table.to_dicts() if row["name"] == f"{PV_LIST} at pmap_enter"]
    assert (row["wait_us"], row["hold_us"], row["count"], row["contended"]) == (2000.0, 100.0, 200, 20)
    assert (row["wait_max_us"], row["hold_max_us"]) == (100.0, 1.0)
    # and are no waits of their own
    assert grouped(head, "class").table["wait_us"].sum() == 2600.0


def test_a_sweep_has_a_profile_for_each_design_on_each_machine() -> None:
    profiles = read(sweep(comparison(16, "head", "superpage+batch"), comparison(104, "head")))
    assert [(profile.name, profile.cpus) for profile in profiles] == [
        ("out.json#head@16cpus", 16),
        ("out.json#superpage+batch@16cpus", 16),
        ("out.json#head@104cpus", 104),
    ]


def test_a_sweep_is_read_as_it_is_written() -> None:
    sweep = SweepResult("cpus", ["104", "104"], [make_result(), make_result()])
    labels = ["head@104cpus", "superpage@104cpus", "head@104cpus/3", "superpage@104cpus/4"]
    assert [profile.label for profile in read_own(as_json(sweep).encode(), "out.json")[0]] == labels
    sweep = SweepResult("images", ["private", "shared"], [make_result(), make_result()])
    labels = ["head@private", "superpage@private", "head@shared", "superpage@shared"]
    assert [profile.label for profile in read_own(as_json(sweep).encode(), "out.json")[0]] == labels
    sweep = SweepResult("locks", ["256 to 512"], [make_result()])
    assert [p.label for p in read_own(as_json(sweep).encode(), "out.json")[0]] == ["head", "superpage"]


def test_designs_of_one_name_are_told_apart() -> None:
    assert [profile.label for profile in read(comparison(4, "head", "head"))] == ["head", "head/2"]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "JSON with no schema, not a result"),
        ({"schema": "finegrain.compare/99"}, "JSON with schema 'finegrain.compare/99', not a result"),
        (comparison(designs=[]), "no design in it"),
        (comparison(replications="two"), "replications is not a number"),
        (comparison(replications=0), "replications is out of range"),
        (sweep(), "no design in it"),
        (sweep(sweep()), r"comparisons\[0\]: JSON with schema 'finegrain.sweep/1'"),
        ({"schema": "finegrain.sweep/1", "comparisons": 3}, "comparisons is not a list"),
        (sweep(comparison(designs=3)), r"comparisons\[0\]: designs is not a list"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(document: Any, why: str) -> None:
    with pytest.raises(UserError, match=f"^out.json: {why}") as refusal:
        read(document)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("points", [3, [3], [{}], [{"site": 3}], [{"site": "a", "wait_us": "x"}]])
def test_points_that_are_none_are_refused(points: Any) -> None:
    broken = comparison()
    broken["designs"][0]["locks"][0]["points"] = points
    with pytest.raises(UserError, match=r"designs\[0\].locks\[0\].points"):
        read(broken)
