"""Pages that nobody has looked at yet are where they would be, and become real when they are looked up."""

from doors.processes import mapped_file_pages
from finegrain.lab.holds import superpage_holds
from finegrain.machine.memory import default_segments, span
from replay.made import PS_PER_MS, family, make_replay
from workload.synthetic import FILE_PAGES


def file_pages(replay) -> int:
    held = [superpage_holds(replay.machine, k) for k in range(span(default_segments(2, 6 << 30)) >> 21)]
    return sum(pages for one in held for (kind, *_), pages in one.items() if kind == "file")


def test_every_page_is_counted_where_it_lies_looked_up_or_not() -> None:
    replay = make_replay(family(), jobs=3)
    replay.prepare()
    assert file_pages(replay) == 3 * FILE_PAGES[0]
    replay.machine.run(until=replay.machine.time_ps + 20 * PS_PER_MS)
    assert mapped_file_pages(replay.machine)
    assert file_pages(replay) == 3 * FILE_PAGES[0]
    assert replay.kernel.audit() == (0, "")


def test_all_of_them_go_back() -> None:
    replay = make_replay(family(), jobs=3)
    replay.prepare()
    assert set(replay.drain().values()) == {0}
    assert file_pages(replay) == 0
