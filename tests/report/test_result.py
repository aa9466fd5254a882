import json
from html.parser import HTMLParser

import pytest
from rich.console import Console

from finegrain.machine.costs import CostModel, parse_costs
from finegrain.report.result import as_dict, as_json, factor, html, rich, text
from make_result import make_result


def test_the_table_has_a_column_a_design_each_sorted_by_its_waits() -> None:
    lines = text(make_result()).splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("head"))
    assert "superpage" in lines[head]
    assert "5400000 ±0% (rw:pmap pv list)" in lines[head + 1]
    assert "2430000 ±0% (sx:vm map (user))" in lines[head + 1]
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
    assert "10.00x less" in page
    assert "25.0%" in page
    assert "75.0%" in page
    assert "exits per simulated second" in page
    assert "cc1 (3 copies)" in page


def test_counts_are_shown_on_request_whatever_they_are() -> None:
    result = make_result()
    result.designs[0].counts["promotions"] = 1234
    result.designs[1].counts["something_new"] = 7
    page = text(result, counts=True)
    rows = [line.split("   ") for line in page.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    at = cells.index(["counted", "head", "superpage"])
    assert cells[at + 1 : at + 6] == [
        ["exits", "50", "50"],
        ["faults", "1,000", "1,000"],
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
    assert page.count("(rw:pmap pv list)") == 2
    assert all(len(line) <= 60 for line in page.splitlines())


@pytest.mark.parametrize(
    ("first", "other", "words"),
    [(10, 5, "2.00x less"), (5, 10, "2.00x more"), (0, 5, "no waiting to reduce"), (5, 0, "all of it gone")],
)
def test_factor(first: float, other: float, words: str) -> None:
    assert factor(first, other) == words


def test_json_has_the_schema_that_other_programs_rely_on() -> None:
    document = json.loads(as_json([make_result()]))
    assert document == json.loads(json.dumps(as_dict(make_result())))
    assert document["schema"] == "finegrain.compare/2"
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
    sweep = json.loads(as_json([make_result(), make_result()]))
    assert sweep == {"schema": "finegrain.sweep/1", "comparisons": [document, document]}


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
