"""The threads of a process: where one needs what another has done to their address space.

Threads take their steps side by side, each in its own order. What one maps, another touches; what one unmaps, another
has touched before. The recording has one order of the two, and a step that needs it waits for the other (AWAIT). Since
each waits for an earlier row alone, they never wait for each other in a ring.
"""

from collections import defaultdict

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.draft import END, Draft
from finegrain.workload.rows import Rows
from finegrain.workload.space import Region, Space

_CHANGES = (rec.MAP, rec.UNMAP, rec.PROTECT, rec.MOVE, rec.BREAK)
_MANY_PAGES = 4096  # of a change: the pages touched are gone through, not those of the change


class Threads:
    """Takes the rows of one process in order of time and adds an AWAIT before each step that needs one."""

    def __init__(self, rows: Rows, process: int, draft: Draft) -> None:
        """Begin with one thread."""
        self._rows = rows
        self._process = process
        self._draft = draft
        self._touched: defaultdict[int, dict[int, int]] = defaultdict(
            dict
        )  # by page: the last row of each list
        self._changed = Space()  # what was mapped or unmapped; `backing` is the list, `skew` the row
        self._seen: defaultdict[int, dict[int, int]] = defaultdict(
            dict
        )  # by list: up to which row of the others
        self._began: set[int] = set()
        self.ended: set[int] = set()  # lists that have their EXIT

    def _need(self, row: int, own: int, other: int, other_row: int) -> None:
        """The step at `row` comes after the other list's step at `other_row`."""
        if other == own or self._seen[own].get(other, -1) >= other_row:
            return
        self._seen[own][other] = other_row
        to, self._draft.to = self._draft.to, own
        self._draft.add(row, pr.AWAIT, other, other_row)
        self._draft.to = to

    def _after_changes(self, row: int, own: int, first: int, last: int) -> None:
        """The step at `row` comes after whatever mapped the pages that it is about."""
        i, j = self._changed.overlapping(first, last)
        for region in self._changed.regions[i:j]:
            self._need(row, own, region.backing, region.skew)

    def touch(self, first: int, stop: int) -> None:
        """Take rows that are touches."""
        if not self._began:
            return
        for row in range(first, stop):
            page, own = int(self._rows.page[row]), int(self._rows.lists[row])
            self._after_changes(row, own, page, page + 1)
            self._touched[page][own] = row

    def row(self, row: int, kind: int, args: tuple[int, int, int, int, int], heap_end: int) -> None:
        """Take a row that is none; steps are added to its list."""
        page, pages, offset, info, _ = args
        own = self._draft.to
        if kind == rec.THREAD:
            new = self._rows.list_of.get((self._process, info))
            if new is not None and new not in self._began:
                self._began.add(new)
                self._seen[new] = {**self._seen[own], own: row}
                self._draft.add(row, pr.THREAD, new)
        elif kind == rec.THREAD_EXIT:
            if own != self._process and own not in self.ended:
                self.ended.add(own)
                self._draft.add(row, pr.EXIT)
        elif kind in _CHANGES and self._began:
            if kind == rec.BREAK:
                page, pages = min(page, heap_end or page), abs(page - (heap_end or page))
            self._change(row, own, page, page + pages)
            if kind == rec.MOVE:
                self._change(row, own, offset, offset + info)

    def _change(self, row: int, own: int, first: int, last: int) -> None:
        if last <= first:
            return
        self._after_changes(row, own, first, last)
        pages = range(first, last) if last - first <= _MANY_PAGES else list(self._touched)
        for page in pages:
            if first <= page < last:
                for other, other_row in self._touched.pop(page, {}).items():
                    self._need(row, own, other, other_row)
        self._changed.map(Region(first, last, 0, own, row))

    def end(self) -> None:
        """The process ends: its first thread waits for the others there."""
        to = self._draft.to
        for (process, _), other in sorted(self._rows.list_of.items()):
            if process == self._process and other not in self.ended:
                self._draft.to = other
                self._draft.add(END, pr.EXIT)
        self._draft.to = to
