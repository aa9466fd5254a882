"""A plain model of address spaces that runs a program's steps and checks each, and makers of recordings."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from random import Random

import pytest

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program
from workload import made

_OF_MEMORY = (pr.TOUCH, pr.MMAP, pr.MUNMAP, pr.MPROTECT, pr.BRK, pr.FORK, pr.VFORK, pr.EXEC)
ACCESS = {0: pr.PROT_READ, pr.TOUCH_WRITE: pr.PROT_WRITE, pr.TOUCH_EXEC: pr.PROT_EXEC}


@dataclass
class PlainSpace:
    """Regions (start, end, prot), in bytes, in order; pages touched in them; the heap's end."""

    regions: list = field(default_factory=list)
    touched: set = field(default_factory=set)
    heap: int = 0

    def copy(self):
        return PlainSpace(self.regions[:], set(self.touched), self.heap)

    def put(self, start, end, inside):
        """Replace what is in start..end, and return what was there."""
        i = bisect_right(self.regions, start, key=lambda region: region[1])
        j = bisect_left(self.regions, end, key=lambda region: region[0])
        there = [(max(low, start), min(high, end), prot) for low, high, prot in self.regions[i:j]]
        around = []
        for low, high, prot in self.regions[i:j]:
            around += [(low, start, prot)] if low < start else []
            around += [(end, high, prot)] if high > end else []
        new = []
        for low, high, prot in sorted([*around, *inside]):
            if new and new[-1][1] == low and new[-1][2] == prot:
                new[-1] = (new[-1][0], high, prot)
            else:
                new.append((low, high, prot))
        self.regions[i:j] = new
        return there

    def map(self, start, end, prot):
        """Return whether anything was there."""
        there = self.put(start, end, [(start, end, prot)])
        self.forget(start, end)
        return bool(there)

    def protect(self, start, end, prot):
        there = self.put(start, end, [])
        self.put(start, end, [(low, high, prot) for low, high, _ in there])
        return bool(there)

    def unmap(self, start, end):
        there = self.put(start, end, [])
        self.forget(start, end)
        return bool(there)

    def forget(self, start, end):
        if (end - start) // pr.PAGE_BYTES < len(self.touched):
            self.touched.difference_update(range(start, end, pr.PAGE_BYTES))
        else:
            self.touched = {page for page in self.touched if not start <= page < end}

    def find(self, address):
        i = bisect_right(self.regions, address, key=lambda region: region[1])
        return self.regions[i] if i < len(self.regions) and self.regions[i][0] <= address else None

    def state(self):
        pages = {}
        for low, high, prot in self.regions:
            pages |= dict.fromkeys(range(low, high, pr.PAGE_BYTES), prot)
        return pages, self.touched, self.heap


class Model:
    """Runs steps one by one; an AssertionError says what a program got wrong.

    The threads of a process take turns as `random` says, obeying AWAIT.
    """

    def __init__(self, program, random=None):
        self.program = program
        self.random = random or Random(1)
        self.spaces = {}
        self.lenders = {}  # vfork child -> its parent, until it execs or exits
        self.lists = {}  # of each process that has further threads: those
        for number, process in enumerate(program.thread_process.tolist(), len(program.parent)):
            self.lists.setdefault(process, []).append(number)

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
            there = space.map(arg0, arg0 + arg1, int(program.map_prot[arg2]))
            flags = int(program.map_flags[arg2])
            assert there == bool(flags & pr.MAP_FIXED)
            assert bool(flags & pr.MAP_PRIVATE) != bool(flags & pr.MAP_SHARED)
            file = int(program.map_file[arg2])
            if file >= 0:
                assert program.map_page[arg2] + arg1 // pr.PAGE_BYTES <= program.file_pages[file]
        elif op == pr.MUNMAP:
            assert process not in self.lenders
            assert space.unmap(arg0, arg0 + arg1), "nothing there to unmap"
        elif op == pr.MPROTECT:
            assert space.protect(arg0, arg0 + arg1, arg2), "nothing there to protect"
        elif op == pr.BRK:
            assert arg1 == (space.heap or arg0), "BRK has the wrong old end"
            space.heap = arg0
            if arg0 > arg1:
                space.map(arg1, arg0, pr.PROT_READ | pr.PROT_WRITE)
            else:
                space.unmap(arg0, arg1)
        elif op in (pr.FORK, pr.VFORK):
            assert arg0 not in self.spaces, f"process {arg0} is forked twice"
            self.spaces[arg0] = space.copy()
            if op == pr.VFORK:
                self.lenders[arg0] = process

    def _bounds(self, number, until=None):
        p = self.program
        first, last = int(p.first_step[number]), int(p.first_step[number + 1])
        if until is not None:
            last = first + int(p.time[first:last].searchsorted(until, side="right"))
        return first, last

    def turns(self, process):
        """Give the steps of `process` in an order in which its threads may take them, as (list, step)."""
        p = self.program
        ends = {number: int(p.first_step[number + 1]) for number in [process, *self.lists.get(process, [])]}
        at = {process: int(p.first_step[process])}
        over = set()

        def may_go(number):
            i = at[number]
            if p.op[i] == pr.AWAIT:
                other, step = int(p.arg0[i]), int(p.arg1[i])
                return other in over or at.get(other, -1) >= step or step == 0
            return p.op[i] != pr.EXIT or number != process or len(over) == len(at) - 1

        while process not in over:
            ready = [number for number in at if number not in over and may_go(number)]
            assert ready, f"the threads of process {process} wait for each other"
            number = self.random.choice(ready)
            for _ in range(self.random.choice([1, 5, 1000])):
                i = at[number]
                yield number, i
                if p.op[i] == pr.THREAD:
                    new = int(p.arg0[i])
                    assert new in ends, f"process {process} begins another one's thread"
                    assert new not in at, "a thread begins twice"
                    at[new] = int(p.first_step[new])
                at[number] += 1
                if p.op[i] == pr.EXIT:
                    assert at[number] == ends[number], "steps after the end"
                    over.add(number)
                    break
                if not may_go(number):
                    break
        assert set(at) == set(ends), "a thread never begins"

    def run_process(self, process, until=None):
        """Run the steps of `process` up to time `until`, and check those that say nothing about memory."""
        p = self.program
        lists = [process, *self.lists.get(process, [])]
        bounds = {number: self._bounds(number, until) for number in lists}
        steps = {}
        for number, (first, last) in bounds.items():
            columns = (p.op, p.arg0, p.arg1, p.arg2)
            steps[number] = list(zip(*(a[first:last].tolist() for a in columns), strict=True))
            if until is None:
                assert [op for op, *_ in steps[number]].count(pr.EXIT) == 1
                assert steps[number][-1][0] == pr.EXIT
        if until is None and len(lists) > 1:
            turns = self.turns(process)
        else:
            turns = ((number, i) for number, (first, last) in bounds.items() for i in range(first, last))
            if len(lists) > 1:
                turns = sorted(turns, key=lambda turn: (p.time[turn[1]], *turn))
        waited = set()
        for number, index in turns:
            op, arg0, arg1, arg2 = steps[number][index - bounds[number][0]]
            if op == pr.WAIT:
                assert p.parent[arg0] == process
                assert arg0 not in waited
                assert arg0 in self.spaces, "waits for a child that it has not forked"
                waited.add(arg0)
            elif op == pr.SETPGID:
                assert arg0 == process or (p.parent[arg0] == process and arg0 in self.spaces)
            elif op >= pr.FILE_OPEN:
                assert 0 <= arg0 < len(p.path_parent)
                if op in (pr.FILE_RENAME, pr.FILE_LINK, pr.FILE_SYMLINK):
                    assert 0 <= arg1 < len(p.path_parent)
            elif op in _OF_MEMORY:
                self.step(process, op, arg0, arg1, arg2)
                if op in (pr.FORK, pr.VFORK):
                    assert p.parent[arg0] == process
                    assert p.start[arg0] == p.time[index]

    def check(self, processes=None):
        """Run the first `processes`, or all, in order of creation: a parent's FORKs come before the child runs."""
        p = self.program
        assert p.first_step[0] == 0
        assert p.first_step[-1] == len(p.op)
        assert len(p.first_step) == len(p.parent) + len(p.thread_process) + 1
        if len(p.path_parent):
            above = p.path_parent.tolist()
            assert above[0] == 0
            assert all(parent < path for path, parent in enumerate(above) if path)
        for process in range(len(p.parent))[:processes]:
            for number in [process, *self.lists.get(process, [])]:
                time = p.time[p.first_step[number] : p.first_step[number + 1]]
                assert (time[1:] >= time[:-1]).all(), f"time goes back in list {number}"
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


@pytest.fixture(scope="session")
def make_recording():
    """See made.py."""
    return made.make_recording
