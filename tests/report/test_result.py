import json
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import pytest
from rich.console import Console

from finegrain.machine.costs import CostModel, parse_costs
from finegrain.report.result import (
    as_dict,
    as_json,
    factor,
    html,
    lock_cell,
    rich,
    text,
    title,
    width_line,
)
from finegrain.study.result import Result
from finegrain.study.summarise import summarise
from make_result import make_measurement, make_result, make_task


def test_the_table_has_a_column_a_design_each_sorted_by_its_waits() -> None:
    lines = text(make_result()).splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("head"))
    assert "superpage" in lines[head]
    assert "5400000 ±0%, 40% blocked (rw:pmap pv list)" in lines[head + 1]
    assert "2430000 ±0%, 40% blocked (sx:vm map (user))" in lines[head + 1]
    assert "never waited" not in text(make_result())


def test_costs_that_are_not_the_defaults_stand_above_it() -> None:
    result = make_result()
    assert "costs" not in text(result)
    result.machine["costs_ps"] = CostModel().picoseconds()
    assert "costs" not in text(result)
    result.machine["costs_ps"] = parse_costs(["xfer_cross=180", "line_local_first=0"]).picoseconds()
    assert "\nlock profiling takes 125 ns a lock and unlock\n" in text(result)
    result.machine["costs_ps"]["probe"] = 0
    assert "\nlock profiling takes no time\n" in text(result)
    assert "\ncosts other than the defaults: xfer_cross 180 ns, line_local_first 0\n" in text(result)


def test_under_it_stand_the_factors_the_split_and_the_throughput() -> None:
    page = text(make_result())
    assert "10.00x less (10.00 to 10.00)" in page
    assert "25.0%" in page
    assert "75.0%" in page
    assert "exits per simulated second" in page
    assert "cc1 (3 copies)" in page


def test_neighbours_in_the_line_are_named_where_there_are_any() -> None:
    said = "of its cache-line transfers, by neighbours in the line"
    (line,) = [line for line in text(make_result()).splitlines() if said in line]
    assert line.split()[-2:] == ["5.0%", "5.0%"]
    quiet, measurements = [], [make_measurement() for _ in range(2)]
    for m in measurements:
        rows = [row | {"neighbour_transfers": 0, "neighbour_ps": 0} for row in m.profile]
        quiet.append(replace(m, profile=rows))
    result = with_(make_result(), designs=[summarise(make_task("head"), quiet)])
    assert said not in text(result)


def with_(result: Result, **changes: object) -> Result:
    return replace(result, **changes)


def test_the_heading_says_where_runs_start_and_how_many_there_are() -> None:
    result = make_result()
    page = text(result)
    assert "scaled from 2 runs of 1 s simulated, each after 0.1 s of warm-up" in page
    assert "95% confidence interval from these 2 independent runs" in page
    assert "free memory in no order, as on a machine in long use" in page
    result.workload["free_memory"] = "fresh"
    assert "as after boot" in text(result)
    alone = text(with_(result, replications=1, precision_reached=None))
    assert "scaled from one run of 1 s simulated after" in alone
    assert "no confidence interval" in alone
    assert "a single run does not tell" in alone


def test_a_single_run_has_no_spread() -> None:
    lock = summarise(make_task(), [make_measurement()]).locks[0]
    assert lock_cell(lock) == "5400000, 40% blocked (rw:pmap pv list)"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "±12% wide; --precision 5% runs on until they are ±5%."),
        ({"precision": 0.15, "ended": "precise"}, "±12% wide: ±15% was asked for."),
        (
            {"precision": 0.05, "ended": "limit"},
            "±12% wide, not ±5%: the limit of 20 simulated seconds a design was reached.",
        ),
        ({"precision": 0.05, "ended": "interrupted"}, "±12% wide, not ±5%: interrupted after 2 runs."),
    ],
)
def test_how_wide_the_intervals_are_is_said_in_a_line(changes: dict, says: str) -> None:
    result = with_(make_result(), precision_reached=0.12, **changes)
    assert width_line(result).endswith(says)
    assert "head's worst lock (rw:pmap pv list) and the PV list ratios" in width_line(result)
    assert says in text(result)
    assert escape(says) in html(result)
    assert as_dict(result)["precision_reached"] == 0.12


def test_counts_are_shown_on_request_whatever_they_are() -> None:
    result = make_result()
    result.designs[0].counts["promotions"] = 1234
    result.designs[1].counts["something_new"] = 7
    page = text(result, counts=True)
    rows = [line.split("   ") for line in page.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    at = cells.index(["counted", "head", "superpage"])
    assert cells[at + 1 : at + 6] == [
        ["exits", "100", "100"],
        ["faults", "2,000", "2,000"],
        ["superpage promotions", "1,234", "-"],
        ["something new", "-", "7"],
        [],
    ]
    assert "counted" not in text(result)
    assert as_dict(result)["designs"][1]["counts"]["something_new"] == 7


def test_a_narrow_terminal_stacks_the_designs_and_loses_nothing() -> None:
    console = Console(width=60, color_system=None)
    with console.capture() as capture:
        console.print(rich(make_result()))
    page = capture.get()
    assert page.count("blocked (rw:pmap pv list)") == 2
    assert all(len(line) <= 60 for line in page.splitlines())


def test_many_designs_stand_in_as_many_tables_as_it_takes() -> None:
    result = make_result()
    names = [f"superpage:table=pointers,lock=mtx{n}" for n in range(7)]
    designs = [result.designs[0], *(replace(result.designs[1], name=name) for name in names)]
    drawn = text(replace(result, designs=designs), counts=True, width=90)
    assert "\N{HORIZONTAL ELLIPSIS}" not in drawn
    for name in names:
        assert drawn.count(f" {name}") >= 2  # under the waits, and among the counts
    assert drawn.count("exits per simulated second") > 1


@pytest.mark.parametrize(
    ("first", "other", "words"),
    [(10, 5, "2.00x less"), (5, 10, "2.00x more"), (0, 5, "no waiting to reduce"), (5, 0, "all of it gone")],
)
def test_factor(first: float, other: float, words: str) -> None:
    assert factor(first, other) == words


def test_json_has_the_schema_that_other_programs_rely_on() -> None:
    document = json.loads(as_json(make_result()))
    assert document == json.loads(json.dumps(as_dict(make_result())))
    assert document["schema"] == "finegrain.compare/4"
    assert document["machine"]["kind"] == "simulated"
    design = document["designs"][0]
    assert set(design) >= {
        "name", "locks", "pv_wait", "exits_per_s", "faults_per_s", "chunks_freed_histogram", "wall_s",
    }  # fmt: skip
    assert set(design["locks"][0]) >= {
        "lock", "acquisitions", "contested", "wait_us", "hold_us", "wait_us_90min", "wait_us_90min_ci95", "spin_us",
        "block_us", "wait_histogram_ns", "held_by",
    }  # fmt: skip
    assert set(design["pv_wait"]) == {"collision_us", "sharing_us"}


def test_html_is_balanced_and_escaped() -> None:
    page = html(make_result())
    assert "5400000" in page
    opened: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Checker().feed(page)
    assert opened == []


def test_what_a_recording_lacks_is_said_with_the_locks_that_cannot_arise() -> None:
    result = make_result()
    said = [line for line in title(result) if "lacks" in line]
    assert said == []
    result.workload["lacks"] = ["pipes", "file calls"]
    (line,) = [line for line in title(result) if "lacks" in line]
    assert "pipe mutex" in line
    assert "lockmgr:tmpfs" in line
    assert "threads" not in line
