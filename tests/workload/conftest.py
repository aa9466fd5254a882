"""A plain model of address spaces that runs a program's steps and checks each, and makers of recordings."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl
import pytest

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program

ACCESS = {0: pr.PROT_READ, pr.TOUCH_WRITE: pr.PROT_WRITE, pr.TOUCH_EXEC: pr.PROT_EXEC}


@dataclass
class PlainSpace:
    """Regions (start, end, prot), in bytes, in no order; pages touched in them; the heap's end."""

    regions: list = field(default_factory=list)
    touched: set = field(default_factory=set)
    heap: int = 0

    def copy(self):
        return PlainSpace(self.regions[:], set(self.touched), self.heap)

    def carve(self, start, end):
        """Take start..end out of the regions and return what was there."""
        kept, out = [], []
        for low, high, prot in self.regions:
            if high <= start or low >= end:
                kept.append((low, high, prot))
                continue
            out.append((max(low, start), min(high, end), prot))
            kept += [(low, start, prot)] if low < start else []
            kept += [(end, high, prot)] if high > end else []
        self.regions = kept
        return out

    def unmap(self, start, end):
        there = self.carve(start, end)
        if there and self.touched:
            self.touched = {page for page in self.touched if not start <= page < end}
        return bool(there)

    def find(self, address):
        for region in self.regions:
            if region[0] <= address < region[1]:
                return region
        return None

    def state(self):
        pages = {}
        for low, high, prot in self.regions:
            pages |= dict.fromkeys(range(low, high, pr.PAGE_BYTES), prot)
        return pages, self.touched, self.heap


class Model:
    """Runs steps one by one; an AssertionError says what a program got wrong."""

    def __init__(self, program):
        self.program = program
        self.spaces = {}
        self.lenders = {}  # vfork child -> its parent, until it execs or exits

    def space(self, process):
        return self.spaces.setdefault(process, PlainSpace())

    def step(self, process, op, arg0, arg1, arg2):
        program = self.program
        if op == pr.EXEC:
            assert arg0 < max(len(program.file_name), 1)
            self.spaces[process] = PlainSpace()
            self.lenders.pop(process, None)
            return
        space = self.space(process)
        assert arg0 % pr.PAGE_BYTES == 0 or op not in (pr.TOUCH, pr.MMAP, pr.MUNMAP, pr.MPROTECT, pr.BRK)
        if op == pr.TOUCH:
            region = space.find(arg0)
            assert region is not None, f"process {process} touches {arg0:#x}, which is not mapped"
            assert region[2] & ACCESS[arg2], f"process {process} may not touch {arg0:#x} like {arg2}"
            space.touched.add(arg0)
        elif op == pr.MMAP:
            assert process not in self.lenders, "a vfork child maps into its parent's address space"
            assert arg1 > 0
            there = space.unmap(arg0, arg0 + arg1)
            flags = int(program.map_flags[arg2])
            assert there == bool(flags & pr.MAP_FIXED)
            assert bool(flags & pr.MAP_PRIVATE) != bool(flags & pr.MAP_SHARED)
            file = int(program.map_file[arg2])
            if file >= 0:
                assert program.map_page[arg2] + arg1 // pr.PAGE_BYTES <= program.file_pages[file]
            space.regions.append((arg0, arg0 + arg1, int(program.map_prot[arg2])))
        elif op == pr.MUNMAP:
            assert process not in self.lenders
            assert space.unmap(arg0, arg0 + arg1), "nothing there to unmap"
        elif op == pr.MPROTECT:
            there = space.carve(arg0, arg0 + arg1)
            assert there, "nothing there to protect"
            space.regions += [(low, high, arg2) for low, high, _ in there]
        elif op == pr.BRK:
            assert arg1 == (space.heap or arg0), "BRK has the wrong old end"
            space.heap = arg0
            if arg0 > arg1:
                space.unmap(arg1, arg0)
                space.regions.append((arg1, arg0, pr.PROT_READ | pr.PROT_WRITE))
            else:
                space.unmap(arg0, arg1)
        elif op in (pr.FORK, pr.VFORK):
            assert arg0 not in self.spaces, f"process {arg0} is forked twice"
            self.spaces[arg0] = space.copy()
            if op == pr.VFORK:
                self.lenders[arg0] = process

    def run_process(self, process, upto=None):
        """Run the steps of `process` up to step `upto`, and check those that say nothing about memory."""
        p = self.program
        first, last = int(p.first_step[process]), int(p.first_step[process + 1])
        ops = p.op[first:last].tolist()
        steps = zip(ops, *(a[first:last].tolist() for a in (p.arg0, p.arg1, p.arg2)), strict=True)
        waited = set()
        assert ops[-1] == pr.EXIT
        assert ops.count(pr.EXIT) == 1
        for index, (op, arg0, arg1, arg2) in enumerate(steps, first):
            if upto is not None and index >= upto:
                return
            if op == pr.WAIT:
                assert p.parent[arg0] == process
                assert arg0 not in waited
                assert arg0 in self.spaces, "waits for a child that it has not forked"
                waited.add(arg0)
            elif op == pr.SETPGID:
                assert arg0 == process or (p.parent[arg0] == process and arg0 in self.spaces)
            elif op not in (pr.EXIT, pr.SLEEP, pr.SETSID, pr.KILLPG):
                self.step(process, op, arg0, arg1, arg2)
                if op in (pr.FORK, pr.VFORK):
                    assert p.parent[arg0] == process
                    assert p.start[arg0] == p.time[index]

    def check(self, processes=None):
        """Run the first `processes`, or all, in order of creation: a parent's FORKs come before the child runs."""
        p = self.program
        assert p.first_step[0] == 0
        assert p.first_step[-1] == len(p.op)
        for process in range(len(p.parent))[:processes]:
            time = p.time[p.first_step[process] : p.first_step[process + 1]]
            assert (time[1:] >= time[:-1]).all(), f"time goes back in process {process}"
            assert p.parent[process] < process
            if p.parent[process] >= 0:
                assert process in self.spaces, f"process {process} is never forked"
            self.run_process(process)
        return self


@pytest.fixture(scope="session")
def model():
    return Model


@pytest.fixture(scope="session")
def hello():
    """The bundled recording, compiled."""
    return compile_program(rec.load("hello"))


def _events(rows: Iterable[dict]) -> pl.DataFrame:
    table = pl.DataFrame(
        [{name: row.get(name, 0) for name in rec.COLUMNS} for row in rows], schema=rec.COLUMNS, orient="row"
    )
    return table.sort("process", "time", maintain_order=True)


@pytest.fixture(scope="session")
def make_recording():
    """Make a recording from rows given as dicts; columns left out are 0."""

    def make(rows, files=(), kind="tracepoints", **more):
        events = _events(rows)
        highest = [events["process"].max() or 0] + [
            row["info"] for row in rows if row["kind"] in (rec.FORK, rec.WAIT)
        ]
        return rec.Recording(
            kind=kind,
            command=["make"],
            status=0,
            events=events,
            processes=max(highest) + 1,
            files=list(files),
            duration_ns=int(events["time"].max() or 0) if len(events) else 0,
            **more,
        )

    return make
