"""The threads of a process: where one needs what another has done.

Threads take their steps side by side, each in its own order. What one maps, another touches; what one unmaps, another
has touched before; what one opens, another reads; and a fork gives its child what all have done until then. The
recording has one order of the two, and a step that needs it waits for the other (AWAIT). Since each waits for an
earlier row alone, they never wait for each other in a ring.
"""

from collections import defaultdict

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.draft import END, Draft
from finegrain.workload.rows import Rows
from finegrain.workload.space import Region, Space

_CHANGES = (rec.MAP, rec.UNMAP, rec.PROTECT, rec.MOVE)
_MANY_PAGES = 4096  # of a change: the pages touched are gone through, not those of the change
_OPENS = (rec.PIPE, rec.FILE_OPEN)
_CLOSES = (rec.CLOSE, rec.FILE_CLOSE)


class Threads:
    """Takes the rows of one process in order of time and adds an AWAIT before each step that needs one."""

    def __init__(self, rows: Rows, process: int, draft: Draft) -> None:
        """Begin with one thread."""
        self._rows = rows
        self._process = process
        self._draft = draft
        # by page: the last row of each list
        self._touched: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._changed = Space()  # what was mapped or unmapped; `backing` is the list, `skew` the row
        # by list: up to which row of the others
        self._seen: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._began: set[int] = set()
        self._ended: set[int] = set()  # lists that have their EXIT
        self._heap: dict[
            int, int
        ] = {}  # each of these is by list: its last row that says where the heap ends,
        self._given: dict[int, int] = {}  # that changes what a fork gives a child,
        self._forks: dict[int, int] = {}  # that forks,
        self._opened: defaultdict[object, dict[int, int]] = defaultdict(
            dict
        )  # makes a pipe or child, opens a file,
        self._used: defaultdict[object, dict[int, int]] = defaultdict(dict)  # uses it

    def _need(self, row: int, own: int, others: dict[int, int]) -> None:
        """The step at `row` comes after these rows' steps of other lists."""
        for other, other_row in others.items():
            if other == own or self._seen[own].get(other, -1) >= other_row:
                continue
            self._seen[own][other] = other_row
            to, self._draft.to = self._draft.to, own
            self._draft.add(row, pr.AWAIT, other, other_row)
            self._draft.to = to

    def _after_changes(self, row: int, own: int, first: int, last: int) -> None:
        """The step at `row` comes after whatever mapped the pages that it is about."""
        i, j = self._changed.overlapping(first, last)
        for region in self._changed.regions[i:j]:
            self._need(row, own, {region.backing: region.skew})

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
            if own != self._process:
                self._ended.add(own)
                self._draft.add(row, pr.EXIT)
        elif kind == rec.FORK:
            self._need(row, own, self._given)
            self._forks[own] = self._opened["child", info][own] = row
        elif kind == rec.BREAK:
            self._need(row, own, self._heap)
            self._heap = {own: row}
            self._gives(row, own)
            if heap_end:
                self.change(row, min(page, heap_end), max(page, heap_end))
        elif kind in _CHANGES:
            self.change(row, page, page + pages)
            if kind == rec.MOVE:
                self.change(row, offset, offset + info)

    def change(self, row: int, first: int, last: int) -> None:
        """The step at `row` changes what is mapped in these pages."""
        own = self._draft.to
        if last <= first or not self._began:
            return
        self._gives(row, own)
        self._after_changes(row, own, first, last)
        pages = range(first, last) if last - first <= _MANY_PAGES else list(self._touched)
        for page in pages:
            if first <= page < last:
                self._need(row, own, self._touched.pop(page, {}))
        self._changed.map(Region(first, last, 0, own, row))

    def _gives(self, row: int, own: int) -> None:
        self._need(row, own, self._forks)
        self._given[own] = row

    def uses(self, row: int, kind: int, what: str, number: int) -> None:
        """The step at `row` makes, uses or closes this pipe or file, or has to do with this child."""
        own, thing = self._draft.to, (what, number)
        if kind in _OPENS:
            self._opened[thing] = {own: row}
        else:
            self._need(row, own, self._opened[thing])
        if kind in _CLOSES:
            self._need(row, own, self._used.pop(thing, {}))
        else:
            self._used[thing][own] = row
        if kind in (*_OPENS, *_CLOSES):
            self._gives(row, own)

    def end(self) -> None:
        """The process ends: its first thread waits for the others there."""
        to = self._draft.to
        for (process, _), other in sorted(self._rows.list_of.items()):
            if process == self._process and other not in self._ended:
                self._draft.to = other
                self._draft.add(END, pr.EXIT)
        self._draft.to = to
