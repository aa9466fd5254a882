import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from finegrain.errors import UserError
from finegrain.report.html import comparison_html
from finegrain.report.json import check_writable, comparison_to_dict, write_json, write_whole
from finegrain.report.terminal import comparison_text, factor, render_comparison
from make_result import make_comparison


def test_the_table_has_a_column_a_design_each_sorted_by_its_waits() -> None:
    lines = comparison_text(make_comparison()).splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("head"))
    assert "superpage" in lines[head]
    assert "5400000 ±0% (rw:pmap pv list)" in lines[head + 1]
    assert "2430000 ±0% (sx:vm map (user))" in lines[head + 1]
    assert "never waited" not in comparison_text(make_comparison())


def test_under_it_stand_the_factors_the_split_and_the_throughput() -> None:
    text = comparison_text(make_comparison())
    assert "10.00x less" in text
    assert "25.0%" in text
    assert "75.0%" in text
    assert "exits per simulated second" in text
    assert "cc1 (3 copies)" in text


def test_a_narrow_terminal_stacks_the_designs_and_loses_nothing() -> None:
    console = Console(width=60, color_system=None)
    with console.capture() as capture:
        console.print(render_comparison(make_comparison()))
    text = capture.get()
    assert text.count("(rw:pmap pv list)") == 2
    assert all(len(line) <= 60 for line in text.splitlines())


@pytest.mark.parametrize(
    ("first", "other", "text"),
    [(10, 5, "2.00x less"), (5, 10, "2.00x more"), (0, 5, "no waiting to reduce"), (5, 0, "all of it gone")],
)
def test_factor(first: float, other: float, text: str) -> None:
    assert factor(first, other) == text


def test_json_has_the_schema_that_other_programs_rely_on(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_json([make_comparison()], str(path))
    document = json.loads(path.read_text())
    assert document == json.loads(json.dumps(comparison_to_dict(make_comparison())))
    assert document["schema"] == "finegrain.compare/1"
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
    write_json([make_comparison(), make_comparison()], str(path))
    assert json.loads(path.read_text())["schema"] == "finegrain.sweep/1"


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.json"
    write_whole(str(path), "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(UserError, match="No space left"):
        write_whole(str(path), "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_are_refused_early(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="directory"):
        check_writable(str(tmp_path))
    with pytest.raises(UserError, match="no directory"):
        check_writable(str(tmp_path / "absent" / "out.json"))
    check_writable(str(tmp_path / "out.json"))


def test_html_is_balanced_and_escaped() -> None:
    html = comparison_html(make_comparison())
    assert "5400000" in html
    opened: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Checker().feed(html)
    assert opened == []
