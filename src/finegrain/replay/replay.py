"""Replays a program with many builders on a simulated machine.

Each of N builders takes the steps of the program (see `program`) with processes of its own, beginning at its own
point of the recording: builder k of N at (k + u) / N of its duration, u between 0 and 1 from the seed. What was
alive there is put in place first (see `start`), and then all begin together. A builder whose first process ends
starts it again.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from finegrain.design import Design
from finegrain.errors import UserError
from finegrain.machine.memory import Segment
from finegrain.machine.simulated import SimulatedMachine
from finegrain.options import IMAGES, KernelOptions
from finegrain.replay.kernel import Kernel
from finegrain.replay.trees import Trees
from finegrain.workload import program as pr
from finegrain.workload.program import Program
from finegrain.workload.start import Start, Starts

_PREPARE_PS: Final = 1_000_000_000  # how long the machine runs between two looks whether all is ready
_PIECE: Final = 512  # pages of a file that one builder writes of an image that all share
_IMAGES_SHARE: Final = 0.8  # of memory: the rest is for the processes
CACHED_PAGES: Final = 2 * 253  # pages that a CPU's cache may hold: two buckets (kernel/phys/types.pxd)
_PREPARE_LIMIT_PS: Final = 3_600_000_000_000_000  # an hour: something is wrong

Run = tuple[int, int, int]  # file, first page, pages


def _written(start: Start) -> int:
    """Count the pages that the processes alive have written: memory of their own."""
    touches = start.arg2[start.op == pr.TOUCH]
    return int(np.count_nonzero(touches & pr.TOUCH_WRITE))


def _live_rows(program: Program, start: Start, past_first: int) -> list[tuple[int, ...]]:
    """Give the rows of `Kernel.load()`'s `live` for one builder, whose past begins at step `past_first`."""
    alive = start.alive.tolist()
    forks = (start.op == pr.FORK) | (start.op == pr.VFORK)
    inherits = dict(zip(start.arg0[forks].tolist(), (start.op[forks] == pr.VFORK) + 1, strict=True))
    # each process's part of the past; a process without one has none
    first = {p: int(np.searchsorted(start.process, p)) for p in alive}
    last = {p: int(np.searchsorted(start.process, p, side="right")) for p in alive}
    execed = set(start.process[start.op == pr.EXEC].tolist())
    rows: list[tuple[int, ...]] = []
    for i, process in enumerate(alive):
        parent = int(program.parent[process])
        step = int(start.next_step[i])
        left_ns = max(0, int(program.time[step]) - start.time)  # until the step is done
        pause_ns, user_ns = 0, min(int(program.user_ns[step]), left_ns)
        if program.op[step] == pr.SLEEP and left_ns < program.arg0[step]:  # it is in the middle of it
            pause_ns, user_ns, step = left_ns, int(program.user_ns[step + 1]), step + 1
        how = int(inherits.get(process, 0))
        if how == 2 and process in execed:
            how = 1
        rows.append(
            (
                process,
                alive.index(parent) if parent in alive else -1,
                how,
                past_first + first[process],
                past_first + last[process],
                step,
                pause_ns,
                user_ns,
            )
        )
    return rows


def _fill_runs(program: Program, trees: Trees) -> tuple[list[Run], list[Run]]:
    """Divide the files that are ever mapped into pieces to be filled, in order: each builder's own, and shared ones."""
    mapped = np.unique(program.map_file[program.arg2[program.op == pr.MMAP]])
    own: list[Run] = []
    shared: list[Run] = []
    for file in (int(k) for k in mapped if k >= 0 and trees.filled[k]):
        pages = int(program.file_pages[file])
        runs = shared if trees.file_shared[file] else own
        runs += [(file, page, min(_PIECE, pages - page)) for page in range(0, pages, _PIECE)]
    return own, shared


def _thread_rows(program: Program, start: Start) -> list[tuple[int, ...]]:
    """Give the rows of `Kernel.load()`'s `threads` for one builder, with indices among its own live processes."""
    alive = {process: i for i, process in enumerate(start.alive.tolist())}
    rows: list[tuple[int, ...]] = []
    for number, step in start.threads:
        pause_ns, user_ns = 0, 0
        if step < program.first_step[number + 1]:
            left_ns = max(0, int(program.time[step]) - start.time)
            user_ns = min(int(program.user_ns[step]), left_ns)
        process = int(program.thread_process[number - len(program.parent)])
        rows.append((alive[process], number, step, pause_ns, user_ns))
    return rows


def _roots(program: Program) -> list[tuple[int, int]]:
    """Give the rows of `Kernel.load()`'s `roots`: how often each part is drawn, so that its share of time comes out."""
    if program.parts == 1:
        return [(0, 1 << 32)]
    often = program.part_share / program.part_duration
    upto = np.cumsum(often / often.sum())
    return [(program.processes_of(i)[0], round(float(end) * (1 << 32))) for i, end in enumerate(upto)]


class Replay:
    """A kernel of one design on `machine` and memory `segments`, with `jobs` builders that replay `program`.

    `images` is "private" (each builder has a copy of its own of every file), "shared" (one for all) or "mixed" (one of
    what a host lends its jails: see trees.py). Without
    `stagger` all builders begin at the recording's beginning. `free_memory` is "used" (mixed before the replay, as on a
    machine in long use, see age.pyx) or "fresh" (whole, as after boot). User time lasts `user_time` times what the
    recording says. Results depend on `seed`, the machine and the
    arguments alone. Raises UserError when `images` or `free_memory` is neither of these, or the images do not fit in
    the machine's memory.
    """

    def __init__(
        self,
        machine: SimulatedMachine,
        segments: list[Segment],
        program: Program,
        design: Design,
        *,
        jobs: int,
        images: str = "private",
        seed: int = 1,
        stagger: bool = True,
        options: KernelOptions | None = None,
        free_memory: str = "used",
        user_time: float = 1.0,
    ) -> None:
        """Build the kernel and what the builders need; nothing runs yet."""
        if images not in IMAGES:
            raise UserError(f"images {images!r}: there are {', '.join(IMAGES[:-1])} and {IMAGES[-1]}")
        if free_memory not in ("used", "fresh"):
            raise UserError(f"free memory {free_memory!r}: there are used and fresh")
        self.machine = machine
        self.program = program
        self._user_time = user_time
        self._trees = Trees(program, images)
        own, shared = _fill_runs(program, self._trees)
        self._check_memory(segments, own, shared, jobs)
        self.kernel = Kernel(machine, segments, design, options)
        random = np.random.Generator(np.random.PCG64(seed))
        at = (np.arange(jobs) + random.random(jobs)) / jobs
        part = np.zeros(jobs, np.int64)
        if program.parts > 1:
            random.shuffle(at)
            ends = np.cumsum(program.part_share)
            part = np.minimum(np.searchsorted(ends, at, side="right"), program.parts - 1)
            at = (at - (ends - program.part_share)[part]) / program.part_share[part]
        durations = np.array([program.duration_of(i) for i in range(program.parts)])
        at = np.clip(at, 0, 1) * durations[part] * stagger
        self._load(part.tolist(), at.astype(np.int64), own, shared, free_memory == "used", random)

    @staticmethod
    def _check_memory(segments: list[Segment], own: list[Run], shared: list[Run], jobs: int) -> None:
        needed = sum(pages for *_, pages in own) * jobs + sum(pages for *_, pages in shared)
        needed *= pr.PAGE_BYTES
        memory = sum(end - start for start, end, _ in segments)
        if needed > memory * _IMAGES_SHARE:
            raise UserError(
                f"the files of {jobs} builders take {needed / 2**30:.1f} GiB, and the machine has "
                f"{memory / 2**30:.1f} GiB: take fewer jobs, or shared images"
            )

    def _load(
        self,
        part: list[int],
        at: npt.NDArray[np.int64],
        own: list[Run],
        shared: list[Run],
        used: bool,
        random: np.random.Generator,
    ) -> None:
        """Load the kernel with builders that begin in these parts at these recording times (ns)."""
        program, trees, jobs = self.program, self._trees, len(at)
        seeds = random.integers(1, 1 << 62, jobs)
        starts = [Starts(program, i) for i in range(program.parts)]
        past: list[Start] = []
        live: list[tuple[int, ...]] = []
        threads: list[tuple[int, ...]] = []
        pipes: list[tuple[int, ...]] = []
        builders: list[tuple[int, ...]] = []
        entries = [rows for _, rows in trees.shared()]
        ends = np.cumsum([0] + [len(rows) for rows in entries]).tolist()
        lent = list(zip(trees.roots, ends[:-1], ends[1:], strict=True))
        there = int(ends[-1])
        steps = 0
        made: dict[int, tuple[Start, npt.NDArray[Any]]] = {}
        for k in sorted(
            range(jobs), key=lambda k: (part[k], int(at[k]))
        ):  # a part's states come in order of time
            made[k] = starts[part[k]].at(int(at[k])), trees.at(int(at[k]), part[k])
        for k in range(jobs):
            start, files = made.pop(k)
            rows = _live_rows(program, start, steps)
            entries.append(files)
            share = [len(own) + len(shared) * i // jobs for i in (k, k + 1)]
            age = _written(start) + CACHED_PAGES if used else 0
            alive = (len(live), len(live) + len(rows))
            tree = (there, there + len(entries[-1]))
            there = tree[1]
            piped = (len(pipes), len(pipes) + len(start.pipes))
            root = program.processes_of(part[k])[0]
            builders.append((0, len(own), *share, *tree, *alive, *piped, age, int(seeds[k]), root))
            pipes += start.pipes
            threads += [(p + len(live), *rest) for p, *rest in _thread_rows(program, start)]
            live += [(n, p + len(live) if p >= 0 else -1, *rest) for n, p, *rest in rows]
            past.append(start)
            steps += len(start.op)
        columns: list[npt.NDArray[Any]] = [
            np.concatenate([getattr(start, name) for start in past])
            for name in ("op", "arg0", "arg1", "arg2")
        ]
        file_shared = trees.file_shared.astype(np.uint8)
        self.kernel.load(
            program, columns, live, threads, pipes, own + shared, file_shared, np.concatenate(entries), lent,
            _roots(program), builders, user_time=self._user_time,
        )  # fmt: skip

    def prepare(self) -> int:
        """Fill the images, put what was alive in place, and go to where the replay begins.

        Returns that time (picoseconds); it is the machine's time now.
        """
        self.kernel.start()
        until = self.machine.time_ps
        while not self.kernel.start_ps:
            until += _PREPARE_PS
            if until > _PREPARE_LIMIT_PS:
                raise RuntimeError("the builders did not get ready within an hour of simulated time")
            self.machine.run(until=until)
        self.machine.run(until=self.kernel.start_ps)
        return self.kernel.start_ps

    def drain(self) -> dict[str, int]:
        """End every process in an orderly way and return what is still allocated: all counts are to be 0."""
        self.machine.stop_threads()
        self.machine.run()
        return self.kernel.in_use()

    def counts(self) -> dict[str, int]:
        """Count events since the last reset: exits, execs, forks, vforks, faults, and faults by kind."""
        return self.kernel.counts()

    def reset_counts(self) -> None:
        """Begin counting afresh."""
        self.kernel.reset_counts()

    def chunks_freed_histogram(self) -> list[list[int]]:
        """Give how many PV chunks each pmap_remove_pages freed: rows of chunks and calls."""
        return self.kernel.chunks_freed()

    @property
    def pv_bytes(self) -> int:
        """Memory that the design takes for locks, generations and list heads, bytes."""
        return self.kernel.pv_bytes
