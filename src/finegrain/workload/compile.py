"""Compiles a recording into a program; the rules of inference are explained in docs/recordings.md."""

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.clock import Pause, pauses, user_time
from finegrain.workload.program import Program
from finegrain.workload.recording import Recording
from finegrain.workload.space import ANONYMOUS, SPECIAL, Region, Space

# A region is inferred around a touched page as far as later touches are no more than this many pages apart.
_NEAR_PAGES = 16
# How far below what is known of it a stack may grow: Linux's default limit of 8 MB.
_STACK_PAGES = 2048
_RW = pr.PROT_READ | pr.PROT_WRITE
# an access not told by the recording, beside the TOUCH_* bits
_UNKNOWN = 3
# by protection and access: whether the one allows the other
_ALLOWED = [(prot & pr.PROT_READ, prot & pr.PROT_WRITE, prot & pr.PROT_EXEC, 0) for prot in range(8)]
_UINT32_MAX = (1 << 32) - 1


def _until_exit(events: pl.DataFrame) -> pl.DataFrame:
    """Leave out what a process's rows still say after its EXIT: that its last thread left the CPU."""
    exits = (pl.col("kind") == rec.EXIT).cast(pl.Int32)
    return events.filter(exits.cum_sum().over("process") - exits == 0)


def _tuck_exec_maps(events: pl.DataFrame) -> pl.DataFrame:
    """Cut what exec maps of a file where its next segment begins.

    Linux first maps the whole span of a position-independent program, then its segments over it.
    """
    maps = events.with_row_index("row").filter(pl.col("kind") == rec.MAP)
    following = {
        name: pl.col(name).shift(-1).over("process").alias(f"next_{name}")
        for name in ("page", "file", "info")
    }
    cut = (
        maps.with_columns(*following.values())
        .filter(
            ((pl.col("info") & pl.col("next_info") & rec.MAP_EXEC) != 0)
            & (pl.col("file") > 0)
            & (pl.col("file") == pl.col("next_file"))
            & (pl.col("page") < pl.col("next_page"))
            & (pl.col("next_page") < pl.col("page") + pl.col("pages"))
        )
        .select("row", (pl.col("next_page") - pl.col("page")).alias("cut"))
    )
    return (
        events.with_row_index("row")
        .join(cut, on="row", how="left", maintain_order="left")
        .with_columns(pages=pl.coalesce("cut", "pages"))
        .drop("row", "cut")
    )


@dataclass
class _Steps:
    """Steps in the making: a touch for each fault row not dropped, and the others as they are found."""

    dropped: bytearray
    access: bytearray  # of each row that is a fault: TOUCH_* bits or _UNKNOWN
    process: int = 0
    out: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)  # process, row, op, args
    maps: dict[tuple[int, int, int, int], int] = field(default_factory=dict)

    def add(self, row: int, op: int, arg0: int = 0, arg1: int = 0, arg2: int = 0) -> None:
        self.out.append((self.process, row, op, arg0, arg1, arg2))

    def mmap(self, row: int, region: Region, flags: int) -> None:
        page = region.start + region.skew if region.backing >= 0 else 0
        key = (region.backing, page, region.prot, flags)
        index = self.maps.setdefault(key, len(self.maps))
        length = region.end - region.start
        self.add(row, pr.MMAP, region.start * pr.PAGE_BYTES, length * pr.PAGE_BYTES, index)


class _Compiler:
    """Follows each process's address space through its rows, in order of creation."""

    def __init__(self, recording: Recording) -> None:
        self.software = recording.kind == "software"
        self.special = {i for i, name in enumerate(recording.files) if name.startswith("[")}
        events = _tuck_exec_maps(_until_exit(recording.events))
        self.events = events
        self.count = recording.processes
        self.kind = events["kind"].to_numpy()
        self.page = events["page"].to_numpy().astype(np.int64)
        info = events["info"].to_numpy()
        writes = np.where(info & rec.FAULT_EXEC, pr.TOUCH_EXEC, 0)
        access = np.where(info & rec.FAULT_WRITE, pr.TOUCH_WRITE, writes)
        unknown = (self.kind == rec.FAULT) & (info & rec.FAULT_UNKNOWN != 0)
        access[unknown] = _UNKNOWN
        self.bounds = np.searchsorted(events["process"].to_numpy(), np.arange(self.count + 1))
        self.steps = _Steps(bytearray(len(events)), bytearray(access.astype(np.uint8).tobytes()))
        self.inferred: Counter[str] = Counter()
        self.parent = np.full(self.count, -1, np.int32)
        self.start = np.zeros(self.count, np.int64)
        self.end = np.full(self.count, recording.duration_ns, np.int64)
        self._family(recording)
        self.snapshots: dict[int, tuple[Space, bool]] = {}

    def _family(self, recording: Recording) -> None:
        """Fill in who forked whom, and when processes start and end."""
        forks = self.events.filter((pl.col("kind") == rec.FORK) & (pl.col("info") > pl.col("process")))
        forks = forks.unique("info", keep="first", maintain_order=True)
        child = forks["info"].to_numpy()
        self.parent[child] = forks["process"].to_numpy()
        self.start[child] = forks["time"].to_numpy()
        exits = self.events.filter(pl.col("kind") == rec.EXIT)
        self.end[exits["process"].to_numpy()] = exits["time"].to_numpy()
        first = self.events.group_by("process").agg(pl.col("time").min()).filter(pl.col("time") > 0)
        lost = first.filter(pl.col("process").is_in(np.flatnonzero(self.parent < 0)))
        self.start[lost["process"].to_numpy()] = lost["time"].to_numpy()

    # one row each

    def _map(self, row: int, space: Space, borrowed: bool) -> None:
        page, pages, offset, info, file = self._args(row)
        if borrowed or not pages:
            return
        backing = file - 1 if file else ANONYMOUS
        if backing in self.special:
            self._unmap(row, space, page, page + pages)
            space.map(Region(page, page + pages, info & 7, SPECIAL, 0))
            return
        stack = bool(info & rec.MAP_STACK)
        region = Region(page, page + pages, info & 7, backing, offset - page if file else 0, stack)
        if stack:
            region = region._replace(start=self._stack_start(row, space, region.start))
        flags = pr.MAP_SHARED if info & rec.MAP_SHARED else pr.MAP_PRIVATE
        flags |= pr.MAP_STACK if stack else 0
        flags |= pr.MAP_EXEC if info & rec.MAP_EXEC else 0
        if self.software and not info & rec.MAP_EXEC:
            self._map_or_protect(row, space, region, flags)
        else:
            self._put(row, space, region, flags)

    def _put(self, row: int, space: Space, region: Region, flags: int) -> None:
        if space.map(region):
            flags |= pr.MAP_FIXED
        self.steps.mmap(row, region, flags)

    def _map_or_protect(self, row: int, space: Space, region: Region, flags: int) -> None:
        """Map only what was not there with the same backing; what was there gets the new protection."""
        at = region.start
        i, j = space.overlapping(region.start, region.end)
        for there in space.regions[i:j]:
            if there.backing != region.backing or there.skew != region.skew:
                continue
            if at < there.start:
                self._put(row, space, region._replace(start=at, end=there.start), flags)
            at, upto = min(there.end, region.end), max(there.start, region.start)
            if there.prot != region.prot:
                self.inferred["protections from mapping records"] += 1
                space.protect(upto, at, region.prot)
                self.steps.add(
                    row, pr.MPROTECT, upto * pr.PAGE_BYTES, (at - upto) * pr.PAGE_BYTES, region.prot
                )
        if at < region.end:
            self._put(row, space, region._replace(start=at), flags)

    def _later_pages(self, row: int, low: int, high: int) -> npt.NDArray[np.int64]:
        """Return the pages in low..high that the process touches from `row` to its next EXEC, sorted."""
        stop = int(self.bounds[np.searchsorted(self.bounds, row, side="right")])
        execs = np.flatnonzero(self.kind[row + 1 : stop] == rec.EXEC)
        if len(execs):
            stop = row + 1 + int(execs[0])
        pages = self.page[row:stop][self.kind[row:stop] == rec.FAULT]
        return np.unique(pages[(pages >= low) & (pages < high)])

    def _stack_start(self, row: int, space: Space, start: int) -> int:
        """Return the lowest page that the stack beginning at `start` will grow to."""
        low = max(space.gap(start - 1)[0] if space.find(start - 1) is None else start, start - _STACK_PAGES)
        pages = self._later_pages(row, low, start)
        return int(pages[0]) if len(pages) else start

    def _infer(self, row: int, space: Space, access: int) -> None:
        """Map anonymous memory around a touched page for which no mapping was recorded."""
        page = int(self.page[row])
        low, high = space.gap(page)
        above = space.find(high)
        if above is not None and above.stack and high - page <= _STACK_PAGES:
            start, end = int(self._later_pages(row, max(low, high - _STACK_PAGES), high)[0]), high
        else:
            pages = self._later_pages(row, low, high)
            breaks = np.flatnonzero(np.diff(pages) > _NEAR_PAGES)
            group = np.searchsorted(pages[breaks], page, side="left")
            parts = np.split(pages, breaks + 1)
            start, end = int(parts[group][0]), int(parts[group][-1]) + 1
        prot = _RW | (pr.PROT_EXEC if access == pr.TOUCH_EXEC else 0)
        stack = above is not None and above.stack and end == high
        region = Region(start, end, prot, ANONYMOUS, 0, stack)
        space.map(region)
        self.steps.mmap(row, region, pr.MAP_PRIVATE | (pr.MAP_STACK if stack else 0))
        self.inferred["mappings"] += 1

    def _break(self, row: int, space: Space, borrowed: bool) -> None:
        new = self._args(row)[0]
        old = space.heap_end or new
        if borrowed or (new == old and space.heap_end):
            return
        space.heap_end = new
        if new > old:
            space.map(Region(old, new, _RW, ANONYMOUS, 0))
        elif new < old:
            space.unmap(new, old)
        self.steps.add(row, pr.BRK, new * pr.PAGE_BYTES, old * pr.PAGE_BYTES)

    def _unmap(self, row: int, space: Space, start: int, end: int) -> None:
        if end > start and space.unmap(start, end):
            self.steps.add(row, pr.MUNMAP, start * pr.PAGE_BYTES, (end - start) * pr.PAGE_BYTES)

    def _protect(self, row: int, space: Space) -> None:
        page, pages, _, prot, _ = self._args(row)
        if pages and space.protect(page, page + pages, prot):
            self.steps.add(row, pr.MPROTECT, page * pr.PAGE_BYTES, pages * pr.PAGE_BYTES, prot)

    def _move(self, row: int, space: Space) -> None:
        """Take mremap apart: grow or shrink in place, or map anew and unmap the old."""
        new, new_pages, old, old_pages, _ = self._args(row)
        region = space.find(old)
        if region is None or region.backing == SPECIAL or not new_pages:
            return
        wanted = region._replace(start=new, end=new + new_pages, stack=False)
        wanted = wanted._replace(skew=region.skew + old - new if region.backing >= 0 else 0)
        if new != old:
            self._put(row, space, wanted, pr.MAP_PRIVATE)
            self._unmap(row, space, old, old + old_pages)
        elif new_pages > old_pages:
            self._put(row, space, wanted._replace(start=new + old_pages), pr.MAP_PRIVATE)
        else:
            self._unmap(row, space, new + new_pages, old + old_pages)

    def _args(self, row: int) -> tuple[int, int, int, int, int]:
        return self.columns[row]

    def _exec(self, row: int, stop: int) -> None:
        """Add an EXEC step; its program is the first file that it maps."""
        for later in self.rows_of_maps[np.searchsorted(self.rows_of_maps, row) :]:
            if later >= stop:
                break
            _, _, _, info, file = self._args(int(later))
            if file and info & rec.MAP_EXEC and file - 1 not in self.special:
                self.steps.add(row, pr.EXEC, file - 1)
                return
        self.steps.add(row, pr.EXEC, 0)

    def _touches(self, first: int, stop: int, space: Space, borrowed: bool) -> None:
        """Check the touches in rows first..stop against the mappings."""
        access, dropped = self.steps.access, self.steps.dropped
        starts, regions = space.starts, space.regions
        low, high, allowed = 0, 0, _ALLOWED[0]
        for row, page in enumerate(self.pages[first:stop], first):
            if not low <= page < high:
                i = bisect_right(starts, page) - 1
                if i < 0 or page >= regions[i].end:
                    if borrowed or not page:
                        dropped[row] = 1
                        self.inferred["touches dropped"] += 1
                        continue
                    self._infer(row, space, access[row])
                    i = bisect_right(starts, page) - 1
                low, high, prot, backing, _, _ = regions[i]
                if backing == SPECIAL:
                    dropped[row] = 1
                    high = low
                    continue
                allowed = _ALLOWED[prot]
            if not allowed[access[row]]:
                self._settle(row, prot)

    def _settle(self, row: int, prot: int) -> None:
        """Decide how a page was touched that the recording does not say, or that the protection forbids."""
        how = self.steps.access[row]
        if how != _UNKNOWN:
            self.inferred["touches that the protection forbids"] += 1
        if not prot:
            self.steps.dropped[row] = 1
        elif prot & pr.PROT_WRITE:
            self.steps.access[row] = pr.TOUCH_WRITE
        else:
            self.steps.access[row] = pr.TOUCH_EXEC if prot & pr.PROT_EXEC else 0

    def _process(self, process: int, rows: list[int], waits: dict[int, Pause], waited: set[int]) -> None:
        """Follow one process; `rows` are those of its rows that are not faults."""
        first, stop = int(self.bounds[process]), int(self.bounds[process + 1])
        space, borrowed = self.snapshots.pop(process, (Space(), False))
        forked: set[int] = set()
        at = first
        for row in rows:
            if at < row:
                self._touches(at, row, space, borrowed)
            at = row + 1
            kind = self.kinds[row]
            if kind == rec.MAP:
                self._map(row, space, borrowed)
            elif kind == rec.BREAK:
                self._break(row, space, borrowed)
            elif kind == rec.UNMAP and not borrowed:
                page, pages, *_ = self._args(row)
                self._unmap(row, space, page, page + pages)
            elif kind == rec.PROTECT and not borrowed:
                self._protect(row, space)
            elif kind == rec.MOVE and not borrowed:
                self._move(row, space)
            elif kind == rec.FORK:
                _, lent, _, child, _ = self._args(row)
                if self.parent[child] == process and child not in forked:
                    forked.add(child)
                    self.snapshots[child] = (space.copy(), bool(lent))
                    self.steps.add(row, pr.VFORK if lent else pr.FORK, child)
            elif kind == rec.EXEC:
                space, borrowed = Space(), False
                self._exec(row, stop)
            elif kind == rec.OFF and row in waits:
                pause = waits[row]
                if pause.child >= 0:
                    self.steps.add(row, pr.WAIT, pause.child)
                else:
                    self.steps.add(row, pr.SLEEP, pause.ns)
            elif kind == rec.WAIT:
                child = self._args(row)[3]
                if child in forked and child not in waited:
                    waited.add(child)
                    self.steps.add(row, pr.WAIT, child)
            elif kind == rec.EXIT:
                self.steps.add(row, pr.EXIT)
                return
        self._touches(at, stop, space, borrowed)
        self.steps.add(stop, pr.EXIT)

    def run(self) -> None:
        """Make the steps of all processes."""
        others = np.flatnonzero(self.kind != rec.FAULT)
        rows = others.tolist()
        table = (
            self.events[name].to_numpy()[others].tolist()
            for name in ("page", "pages", "offset", "info", "file")
        )
        self.columns = dict(zip(rows, zip(*table, strict=True), strict=True))
        self.kinds = dict(zip(rows, self.kind[others].tolist(), strict=True))
        self.rows_of_maps = np.flatnonzero(self.kind == rec.MAP)
        self.pages = self.page.tolist()
        found = pauses(self.events, self.parent, self.start, self.end)
        waits = {pause.row: pause for pause in found}
        waited = {pause.child for pause in found if pause.child >= 0}
        limits = np.searchsorted(others, self.bounds)
        for process in range(self.count):
            self.steps.process = process
            rows = others[limits[process] : limits[process + 1]].tolist()
            self._process(process, rows, waits, waited)
        self.inferred["pauses that end with a child's exit"] = sum(pause.child >= 0 for pause in found)


def _program(recording: Recording, made: _Compiler) -> Program:
    """Put touches and other steps into one order, with their times."""
    # both kinds of step are in order already; at the same row, a touch comes last
    others = np.array(made.steps.out, np.int64).reshape(-1, 6)
    other_process, other_row = others[:, 0], others[:, 1]
    dropped = np.frombuffer(made.steps.dropped, np.uint8)
    touches = np.flatnonzero((made.kind == rec.FAULT) & (dropped == 0))
    total = len(others) + len(touches)
    other_at = np.arange(len(others)) + np.searchsorted(touches, other_row)
    is_touch = np.ones(total, np.bool_)
    is_touch[other_at] = False
    first_step = np.searchsorted(touches, made.bounds) + np.searchsorted(
        other_process, np.arange(made.count + 1)
    )

    def column(of_others: npt.NDArray[np.int64], of_touches: npt.ArrayLike) -> npt.NDArray[np.int64]:
        both = np.empty(total, np.int64)
        both[other_at] = of_others
        both[is_touch] = of_touches
        return both

    # a pause ends when the ON row after it says; an EXIT that was added, when the recording does
    times = np.append(made.events["time"].to_numpy(), recording.duration_ns)
    row_end = made.bounds[other_process + 1]
    added = other_row >= row_end
    kind = np.append(made.kind, 0)
    paused = ~added & np.isin(others[:, 2], [pr.SLEEP, pr.WAIT]) & (kind[other_row] == rec.OFF)
    other_time = np.where(added, recording.duration_ns, times[other_row + paused])

    before = np.concatenate([[0], np.cumsum(user_time(made.events)[0])])
    upto = column(before[np.minimum(other_row + 1, row_end)], before[touches + 1])
    since = np.empty_like(upto)
    since[1:] = upto[:-1]
    since[first_step[:-1]] = before[made.bounds[:-1]]

    user = upto - since
    if (user > _UINT32_MAX).any():
        made.inferred["stretches of user time cut to 4.3 s"] = int((user > _UINT32_MAX).sum())

    maps = np.array(list(made.steps.maps), np.int64).reshape(-1, 4)
    mapped = others[others[:, 2] == pr.MMAP]
    of = maps[mapped[:, 5]]
    file_pages = np.zeros(len(recording.files), np.int64)
    reach = of[:, 1] + mapped[:, 4] // pr.PAGE_BYTES
    np.maximum.at(file_pages, of[of[:, 0] >= 0, 0], reach[of[:, 0] >= 0])
    access = np.frombuffer(made.steps.access, np.uint8)[touches]
    return Program(
        name=recording.name,
        kind=recording.kind,
        duration_ns=recording.duration_ns,
        parent=made.parent,
        start=made.start,
        end=made.end,
        first_step=first_step.astype(np.int64),
        op=column(others[:, 2], pr.TOUCH).astype(np.uint8),
        user_ns=np.minimum(user, _UINT32_MAX).astype(np.uint32),
        time=column(other_time, times[touches]),
        arg0=column(others[:, 3], made.page[touches] * pr.PAGE_BYTES).astype(np.uint64),
        arg1=column(others[:, 4], 0).astype(np.uint64),
        arg2=column(others[:, 5], access).astype(np.uint32),
        map_file=maps[:, 0].astype(np.int32),
        map_page=maps[:, 1].copy(),
        map_prot=maps[:, 2].astype(np.uint8),
        map_flags=maps[:, 3].astype(np.uint8),
        file_name=list(recording.files),
        file_pages=file_pages,
        inferred=dict(sorted(made.inferred.items())),
    )


def compile_program(recording: Recording) -> Program:
    """Turn `recording` into the steps that a replay executes."""
    made = _Compiler(recording)
    made.run()
    return _program(recording, made)
