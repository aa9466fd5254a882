"""Compiles a recording into a program; the rules of inference are explained in docs/recordings.md."""

from bisect import bisect_right
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.clock import Pause, pauses
from finegrain.workload.draft import END, UNKNOWN, Draft, lay_out
from finegrain.workload.file_steps import FileSteps, interned
from finegrain.workload.file_tree import Paths, paths_of, tree_of
from finegrain.workload.pipes import unexplained
from finegrain.workload.program import Program
from finegrain.workload.recording import Recording
from finegrain.workload.rows import Rows, ready
from finegrain.workload.space import ANONYMOUS, SPECIAL, Region, Space
from finegrain.workload.threads import Threads

# A region is inferred around a touched page as far as later touches are no more than this many pages apart.
_NEAR_PAGES = 16
# How far below what is known of it a stack may grow: Linux's default limit of 8 MB.
_STACK_PAGES = 2048
_PIPE_OPS = {rec.PIPE: pr.PIPE, rec.READ: pr.READ, rec.WRITE: pr.WRITE, rec.CLOSE: pr.CLOSE}
# calls on files that a process has open, or opens
_DESCRIPTOR_CALLS = (
    rec.FILE_OPEN, rec.FILE_CLOSE, rec.FILE_FSTAT, rec.FILE_READ, rec.FILE_WRITE, rec.FILE_GETDENTS,
)  # fmt: skip
_RW = pr.PROT_READ | pr.PROT_WRITE
# by protection and access: whether the one allows the other
_ALLOWED = [(prot & pr.PROT_READ, prot & pr.PROT_WRITE, prot & pr.PROT_EXEC, 0) for prot in range(8)]


def _paths_of_files(recording: Recording, paths: Paths) -> list[int]:
    """Return the path of each file that is mapped; NO_PATH where no call names it."""
    named = {i for i in paths.of_recording if i >= 0}
    numbers = [paths.of_files.get(name, pr.NO_PATH) for name in recording.files]
    return [i if i in named else pr.NO_PATH for i in numbers]


class _Compiler:
    """Follows each process's address space through its rows, in order of creation."""

    def __init__(self, recording: Recording, rows: Rows) -> None:
        self.software = recording.kind == "software"
        self.special = {i for i, name in enumerate(recording.files) if name.startswith("[")}
        self.rows = rows
        info = rows.events["info"].to_numpy()
        executes = np.where(info & rec.FAULT_EXEC, pr.TOUCH_EXEC, 0)
        access = np.where(info & rec.FAULT_WRITE, pr.TOUCH_WRITE, executes)
        access = np.where(info & rec.FAULT_UNKNOWN, UNKNOWN, access)
        self.draft = Draft(bytearray(len(info)), bytearray(access.astype(np.uint8).tobytes()))
        self.inferred = self.draft.inferred
        self.snapshots: dict[int, tuple[Space, bool]] = {}
        self.threads: Threads | None = None  # of the process, if it has several
        self.unexplained = unexplained(rows)
        self.paths = paths_of(recording)
        self.files = FileSteps(recording, rows, self.paths, self.draft)
        self.names = recording.files
        self.file_path = _paths_of_files(recording, self.paths)
        self.taken = set(self.file_path)

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
        if file and self.file_path[backing] < 0:
            self.file_path[backing] = self._opened_as(backing)
        if stack:
            region = region._replace(start=self._stack_start(row, space, region.start))
            if self.threads is not None:
                self.threads.change(row, region.start, page)
        flags = pr.MAP_SHARED if info & rec.MAP_SHARED else pr.MAP_PRIVATE
        flags |= pr.MAP_STACK if stack else 0
        flags |= pr.MAP_EXEC if info & rec.MAP_EXEC else 0
        if self.software and not info & rec.MAP_EXEC:
            self._map_or_protect(row, space, region, flags)
        else:
            self._put(row, space, region, flags)

    def _opened_as(self, file: int) -> int:
        """Return the path by which the process has a file open that is mapped under another name, or NO_PATH."""
        directory = self.names[file].rpartition("/")[0]
        for path in self.files.last_opened():
            if self.paths.names[path].rpartition("/")[0] == directory and path not in self.taken:
                self.taken.add(path)
                return path
        return pr.NO_PATH

    def _put(self, row: int, space: Space, region: Region, flags: int) -> None:
        if space.map(region):
            flags |= pr.MAP_FIXED
        self.draft.mmap(row, region, flags)

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
                self.draft.add(
                    row, pr.MPROTECT, upto * pr.PAGE_BYTES, (at - upto) * pr.PAGE_BYTES, region.prot
                )
        if at < region.end:
            self._put(row, space, region._replace(start=at), flags)

    def _later_pages(self, row: int, low: int, high: int) -> npt.NDArray[np.int64]:
        """Return the pages in low..high that the process touches from `row` to its next EXEC, sorted."""
        stop = int(self.rows.bounds[np.searchsorted(self.rows.bounds, row, side="right")])
        execs = np.flatnonzero(self.rows.kind[row + 1 : stop] == rec.EXEC)
        if len(execs):
            stop = row + 1 + int(execs[0])
        pages = self.rows.page[row:stop][self.rows.kind[row:stop] == rec.FAULT]
        return np.unique(pages[(pages >= low) & (pages < high)])

    def _stack_start(self, row: int, space: Space, start: int) -> int:
        """Return the lowest page that the stack beginning at `start` will grow to."""
        low = max(space.gap(start - 1)[0] if space.find(start - 1) is None else start, start - _STACK_PAGES)
        pages = self._later_pages(row, low, start)
        return int(pages[0]) if len(pages) else start

    def _infer(self, row: int, space: Space, access: int) -> None:
        """Map anonymous memory around a touched page for which no mapping was recorded."""
        page = int(self.rows.page[row])
        self.draft.to = int(self.rows.lists[row])
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
        if self.threads is not None:
            self.threads.change(row, start, end)
        self.draft.mmap(row, region, pr.MAP_PRIVATE | (pr.MAP_STACK if stack else 0))
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
        self.draft.add(row, pr.BRK, new * pr.PAGE_BYTES, old * pr.PAGE_BYTES)

    def _unmap(self, row: int, space: Space, start: int, end: int) -> None:
        if end > start and space.unmap(start, end):
            self.draft.add(row, pr.MUNMAP, start * pr.PAGE_BYTES, (end - start) * pr.PAGE_BYTES)

    def _protect(self, row: int, space: Space) -> None:
        page, pages, _, prot, _ = self._args(row)
        if pages and space.protect(page, page + pages, prot):
            self.draft.add(row, pr.MPROTECT, page * pr.PAGE_BYTES, pages * pr.PAGE_BYTES, prot)

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
                self.files.exec(row, self.file_path[file - 1])
                self.draft.add(row, pr.EXEC, file - 1)
                return
        self.files.exec(row, pr.NO_PATH)
        self.draft.add(row, pr.EXEC, 0)

    def _touches(self, first: int, stop: int, space: Space, borrowed: bool) -> None:
        """Check the touches in rows first..stop against the mappings."""
        access, dropped = self.draft.access, self.draft.dropped
        starts, regions, threads, at = space.starts, space.regions, self.threads, first
        low, high, allowed = 0, 0, _ALLOWED[0]
        for row, page in enumerate(self.pages[first:stop], first):
            if not low <= page < high:
                i = bisect_right(starts, page) - 1
                if i < 0 or page >= regions[i].end:
                    if borrowed or not page:
                        dropped[row] = 1
                        self.inferred["touches dropped"] += 1
                        continue
                    if threads is not None:
                        threads.touch(at, row)
                        at = row
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
        if threads is not None:
            threads.touch(at, stop)

    def _settle(self, row: int, prot: int) -> None:
        """Decide how a page was touched that the recording does not say, or that the protection forbids."""
        how = self.draft.access[row]
        if how != UNKNOWN:
            self.inferred["touches that the protection forbids"] += 1
        if not prot:
            self.draft.dropped[row] = 1
        elif prot & pr.PROT_WRITE:
            self.draft.access[row] = pr.TOUCH_WRITE
        else:
            self.draft.access[row] = pr.TOUCH_EXEC if prot & pr.PROT_EXEC else 0

    def _uses(self, threads: Threads, row: int, kind: int, waits: dict[int, Pause]) -> None:
        """Tell what else than memory the threads of a process share that the row is about."""
        if kind in _PIPE_OPS:
            threads.uses(row, kind, "pipe", self._args(row)[3])
        elif kind in (rec.WAIT, rec.SETPGID):
            threads.uses(row, kind, "child", self._args(row)[3])
        elif kind == rec.OFF and row in waits:
            threads.uses(row, kind, "child", waits[row].child)
        elif kind in _DESCRIPTOR_CALLS:
            threads.uses(row, kind, "file", self.calls[row][3])

    def _process(self, process: int, rows: list[int], waits: dict[int, Pause], waited: set[int]) -> None:
        """Follow one process; `rows` are those of its rows that are not faults."""
        first, stop = int(self.rows.bounds[process]), int(self.rows.bounds[process + 1])
        space, borrowed = self.snapshots.pop(process, (Space(), False))
        forked: set[int] = set()
        threads = self.threads = Threads(self.rows, process, self.draft) if self.threaded[process] else None
        at = first
        for row in rows:
            if at < row:
                self._touches(at, row, space, borrowed)
            at = row + 1
            kind = self.kinds[row]
            if threads is not None:
                self.draft.to = int(self.rows.lists[row])
                threads.row(row, kind, self._args(row), space.heap_end)
                self._uses(threads, row, kind, waits)
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
                if self.rows.parent[child] == process and child not in forked:
                    forked.add(child)
                    self.snapshots[child] = (space.copy(), bool(lent))
                    self.files.fork(row, child)
                    self.draft.add(row, pr.VFORK if lent else pr.FORK, child)
            elif kind == rec.EXEC:
                space, borrowed = Space(), False
                self._exec(row, stop)
            elif kind == rec.OFF and row in waits:
                pause = waits[row]
                if pause.child >= 0:
                    self.draft.add(row, pr.WAIT, pause.child)
                else:
                    self.draft.add(row, pr.SLEEP, pause.ns)
            elif kind == rec.WAIT:
                child = self._args(row)[3]
                if child in forked and child not in waited:
                    waited.add(child)
                    self.draft.add(row, pr.WAIT, child)
            elif kind == rec.SETPGID:
                _, _, leader, member, _ = self._args(row)
                if member == process or member in forked:
                    self.draft.add(row, pr.SETPGID, member, leader)
            elif kind == rec.SETSID:
                self.draft.add(row, pr.SETSID)
            elif kind == rec.KILLPG:
                self.draft.add(row, pr.KILLPG, self._args(row)[3])
            elif kind in _PIPE_OPS:
                _, number, _, pipe, _ = self._args(row)
                if pipe not in self.unexplained:
                    self.draft.add(row, _PIPE_OPS[kind], pipe, number)
            elif kind >= rec.FILE_OPEN:
                self.files.call(row, kind, self.calls[row])
            elif kind == rec.EXIT:
                if threads is not None:
                    threads.end()
                self.draft.add(row, pr.EXIT)
                return
        self._touches(at, stop, space, borrowed)
        if threads is not None:
            self.draft.to = process
            threads.end()
        self.draft.add(END, pr.EXIT)

    def run(self) -> None:
        """Make the steps of all processes."""
        others = np.flatnonzero(self.rows.kind != rec.FAULT)
        rows = others.tolist()
        table = (
            self.rows.events[name].to_numpy()[others].tolist()
            for name in ("page", "pages", "offset", "info", "file")
        )
        self.columns = dict(zip(rows, zip(*table, strict=True), strict=True))
        calls = np.flatnonzero(self.rows.kind >= rec.FILE_OPEN)
        table = (
            self.rows.events[name].to_numpy()[calls].tolist()
            for name in ("page", "pages", "info", "path", "path2", "error")
        )
        self.calls = dict(zip(calls.tolist(), zip(*table, strict=True), strict=True))
        self.kinds = dict(zip(rows, self.rows.kind[others].tolist(), strict=True))
        self.rows_of_maps = np.flatnonzero(self.rows.kind == rec.MAP)
        self.pages = self.rows.page.tolist()
        in_lists = self.rows.in_lists
        found = pauses(self.rows.events[in_lists], self.rows.parent, self.rows.start, self.rows.end)
        waits = {int(in_lists[pause.row]): pause for pause in found}
        self.threaded = np.isin(np.arange(self.rows.processes), self.rows.thread_process).tolist()
        waited = {pause.child for pause in found if pause.child >= 0}
        limits = np.searchsorted(others, self.rows.bounds)
        for process in range(self.rows.processes):
            self.draft.to = process
            self.files.begin(process)
            rows = others[limits[process] : limits[process + 1]].tolist()
            self._process(process, rows, waits, waited)
        if self.unexplained:
            self.inferred["pipes left out"] = len(self.unexplained)
        self.inferred["pauses that end with a child's exit"] = sum(pause.child >= 0 for pause in found)


def compile_program(recording: Recording) -> Program:
    """Turn `recording` into the steps that a replay executes."""
    rows = ready(recording)
    compiler = _Compiler(recording, rows)
    compiler.run()
    program = lay_out(recording, rows, compiler.draft)
    if not recording.paths:
        return program
    file_path = [
        path if path >= 0 else compiler.paths.of_files.get(name, pr.NO_PATH)
        for path, name in zip(compiler.file_path, recording.files, strict=True)
    ]
    tree = tree_of(recording, compiler.paths, file_path)
    path_name, names = interned(compiler.paths)
    return replace(
        program,
        file_path=np.array(file_path, np.int32),
        path_parent=compiler.paths.parent,
        path_name=path_name,
        names=names,
        tree_time=tree.time,
        tree_path=tree.path,
        tree_bytes=tree.bytes,
    )
