"""Small programs for replays, made by hand or by Hypothesis."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from finegrain.workload import program as pr
from finegrain.workload.program import Program

BASE = 0x400000
STACK = 0x7FFF_FFFF_F000
RW = pr.PROT_READ | pr.PROT_WRITE
FILE_PAGES = (40, 200, 3)
# what MMAP's arg2 may name
TEXT, DATA, LIBRARY, ANONYMOUS, STACK_MAP, SHARED, EXEC_STACK = range(7)
MAPS = [
    (0, 0, pr.PROT_READ | pr.PROT_EXEC, pr.MAP_PRIVATE | pr.MAP_EXEC),
    (0, 20, RW, pr.MAP_PRIVATE | pr.MAP_EXEC),
    (1, 0, RW, pr.MAP_PRIVATE),
    (pr.NO_FILE, 0, RW, pr.MAP_PRIVATE),
    (pr.NO_FILE, 0, RW, pr.MAP_PRIVATE | pr.MAP_STACK),
    (1, 8, RW, pr.MAP_SHARED),
    (pr.NO_FILE, 0, RW, pr.MAP_PRIVATE | pr.MAP_STACK | pr.MAP_EXEC),
]


@dataclass
class Process:
    """A process and its steps: (op, user_ns, arg0, arg1, arg2)."""

    parent: int
    steps: list = field(default_factory=list)

    def do(self, op, arg0=0, arg1=0, arg2=0, user_ns=1000):
        self.steps.append((op, user_ns, arg0, arg1, arg2))

    def exec(self):
        self.do(pr.EXEC, 0)
        self.do(pr.MMAP, BASE, 20 * 4096, TEXT)
        self.do(pr.MMAP, BASE + 20 * 4096, 20 * 4096, DATA)
        self.do(pr.MMAP, STACK - 40 * 4096, 40 * 4096, EXEC_STACK)

    def touch(self, address, write=True):
        self.do(pr.TOUCH, address, 0, pr.TOUCH_WRITE if write else 0)


def build(processes):
    """Make a Program; its times are those of a machine on which nothing waits but for a child."""
    start, times, ends = [0] * len(processes), [[] for _ in processes], [0] * len(processes)

    def run(p):
        t = start[p]
        for op, user_ns, arg0, *_ in processes[p].steps:
            t += user_ns + 100
            if op in (pr.FORK, pr.VFORK):
                start[arg0] = t
                run(arg0)
            elif op == pr.WAIT:
                t = max(t, ends[arg0])
            elif op == pr.SLEEP:
                t += arg0
            times[p].append(t)
        ends[p] = t

    run(0)
    rows = [step for process in processes for step in process.steps]
    columns = list(zip(*rows, strict=True))
    maps = list(zip(*MAPS, strict=True))
    return Program(
        name="synthetic",
        kind="tracepoints",
        duration_ns=max(ends) + 1,
        parent=np.array([process.parent for process in processes], np.int32),
        start=np.array(start, np.int64),
        end=np.array(ends, np.int64),
        first_step=np.cumsum([0] + [len(process.steps) for process in processes]).astype(np.int64),
        op=np.array(columns[0], np.uint8),
        user_ns=np.array(columns[1], np.uint32),
        time=np.array([t for process in times for t in process], np.int64),
        arg0=np.array(columns[2], np.uint64),
        arg1=np.array(columns[3], np.uint64),
        arg2=np.array(columns[4], np.uint32),
        map_file=np.array(maps[0], np.int32),
        map_page=np.array(maps[1], np.int64),
        map_prot=np.array(maps[2], np.uint8),
        map_flags=np.array(maps[3], np.uint8),
        file_name=["program", "library", "unused"],
        file_pages=np.array(FILE_PAGES, np.int64),
    )


@st.composite
def programs(draw):
    """Trees of up to 7 processes that fork, vfork, exec, map, touch, sleep and wait."""
    processes = [Process(-1)]
    processes[0].exec()
    todo = [(0, 0, {BASE + 20 * 4096: 20, STACK - 40 * 4096: 40})]
    while todo:
        number, depth, regions = todo.pop()
        process = processes[number]
        children = []
        for action in draw(st.lists(st.integers(0, 9), max_size=14)):
            if action <= 1 and len(processes) < 7 and depth < 3:
                child = len(processes)
                processes.append(Process(number))
                vfork = action == 1
                process.do(pr.VFORK if vfork else pr.FORK, child)
                execs = vfork or draw(st.booleans())
                if execs:
                    processes[child].exec()
                mapped = {BASE + 20 * 4096: 20, STACK - 40 * 4096: 40} if execs else dict(regions)
                todo.append((child, depth + 1, mapped))
                children.append(child)
            elif action == 2 and children:
                process.do(pr.WAIT, children.pop(draw(st.integers(0, len(children) - 1))))
            elif action == 3:
                process.do(pr.SLEEP, draw(st.integers(1, 3)) * 100_000)
            elif action == 4:
                at = 0x10000000 + draw(st.integers(0, 8)) * 0x100000
                pages = draw(st.integers(1, 150))
                process.do(pr.MMAP, at, pages * 4096, draw(st.sampled_from([LIBRARY, ANONYMOUS, SHARED])))
                regions[at] = pages
            elif action == 5 and len(regions) > 2:
                at = draw(st.sampled_from(sorted(regions)[1:-1]))
                if at >= 0x10000000:
                    process.do(pr.MUNMAP, at, regions.pop(at) * 4096)
            else:
                at = draw(st.sampled_from(sorted(regions)))
                for i in range(draw(st.integers(1, 6))):
                    process.touch(at + i * 7 % regions[at] * 4096, draw(st.booleans()))
    for process in processes:
        process.do(pr.EXIT)
    return build(processes)
