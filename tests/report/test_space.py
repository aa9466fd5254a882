import json
import re

from rich.console import Console

from finegrain.machine.memory import Segment
from finegrain.memorymap.read import MemoryMap
from finegrain.report.space import as_json, rich, size, text
from finegrain.study.space import space

GIB = 1 << 30
MEMORY = MemoryMap(
    "a\x1b[31mlog", "e820", [Segment(1 << 20, 2 * GIB, 0), Segment(4 * GIB, 6 * GIB, 1)], ["line 3: \x07bell"]
)


def test_sizes_have_the_unit_that_fits() -> None:
    assert [size(n) for n in (0, 1023, 1024, 3 << 20, 5 << 29, 3 << 40)] == [
        "0 B", "1,023 B", "1.00 KiB", "3.00 MiB", "2.50 GiB", "3.00 TiB",
    ]  # fmt: skip


def test_the_page_has_designs_domains_savings_and_notes_and_fits() -> None:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(rich(space(MEMORY)))
    page = capture.get()
    assert "4.00 GiB of memory in 2 segments and 2 domains" in page
    assert "\\x07bell" in page
    assert "\x1b" not in page
    assert "\N{HORIZONTAL ELLIPSIS}" not in page
    assert all(len(line) <= 80 for line in page.splitlines())
    for words in ("superpage:table=pointers", "domain 1", "any domain", "a sparse table instead of pointers"):
        assert words in page


def test_fifteen_domains_fit_a_narrow_terminal() -> None:
    segments = [Segment((4 + n * 200) * GIB, (204 + n * 200) * GIB, n) for n in range(15)]
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(rich(space(MemoryMap("x", "e820", segments))))
    page = capture.get()
    assert "\N{HORIZONTAL ELLIPSIS}" not in page
    assert all(len(line) <= 80 for line in page.splitlines())
    headings = [line for line in page.splitlines() if line.startswith("memory taken in")]
    assert re.findall(r"domain \d+|any domain", " ".join(headings)) == [
        *(f"domain {n}" for n in range(15)), "any domain",
    ]  # fmt: skip


def test_json_has_everything() -> None:
    document = json.loads(as_json(space(MEMORY)))
    assert document["schema"] == "finegrain.space/1"
    assert document["ram"] == MEMORY.ram
    assert document["designs"][0]["name"] == "head"
    assert text(space(MEMORY))
