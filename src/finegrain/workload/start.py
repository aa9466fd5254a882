"""Where a replay begins when it does not begin at the recording's start.

A builder that starts in mid-recording needs the processes that were alive then, with what they had mapped
and touched. `Starts.at(t)` gives the steps that put this in place, in order and each with the process that
takes it; they are executed like any other steps, but before the clock runs and without user time.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from finegrain.workload import program as pr
from finegrain.workload.file_states import FileStates
from finegrain.workload.pipes import PipeStates
from finegrain.workload.program import Program

_LASTS = np.isin(np.arange(256), (pr.MMAP, pr.MUNMAP, pr.MPROTECT, pr.BRK, pr.EXEC))  # by op
# of two touches of one page the one that counts more; a write leaves more behind than a read
_RANK = np.array([0, 2, 1, 2], np.int64)  # by TOUCH_* bits
_ACCESS = np.array([0, pr.TOUCH_EXEC, pr.TOUCH_WRITE], np.uint32)  # the reverse
_PAGE_BITS = 36


@dataclass(frozen=True)
class Start:
    """The state of a recording at one time."""

    time: int  # recording time, ns
    alive: npt.NDArray[np.int32]  # processes, in order of creation: parents before children
    next_step: npt.NDArray[np.int64]  # of each process alive, the step that it takes first
    # Steps that put it there. A process first appears in an EXEC of its own (with nothing mapped before), or
    # as the child of a FORK or VFORK; one that no FORK in the recording explains begins with nothing mapped.
    # Ops are TOUCH, MMAP, MUNMAP, MPROTECT, BRK, EXEC, FORK and VFORK, and before them HOLD for each end of a pipe that
    # the process has, FILE_CHDIR to its working directory and FILE_OPEN for each file that it has open; what its parent
    # has at its fork is not its.
    process: npt.NDArray[np.int32]
    op: npt.NDArray[np.uint8]
    arg0: npt.NDArray[np.uint64]
    arg1: npt.NDArray[np.uint64]
    arg2: npt.NDArray[np.uint32]
    # the further threads that have begun in them: list of steps, and the step of it that is next, or the list's end
    threads: list[tuple[int, int]]
    # the pipes that somebody alive has an end of: index, bytes in it, processes with its read end, with its write end
    pipes: list[tuple[int, int, int, int]]


class Starts:
    """Makes starts in one part of a program."""

    def __init__(self, program: Program, part: int = 0) -> None:
        """Note where processes are forked and where they exec."""
        self.program = program
        self.part = part
        forks = np.flatnonzero((program.op == pr.FORK) | (program.op == pr.VFORK))
        self._fork_step = np.full(len(program.parent), -1, np.int64)
        self._fork_step[program.arg0[forks].astype(np.int64)] = forks
        self._execs = np.flatnonzero(program.op == pr.EXEC)
        begun = np.flatnonzero(program.op == pr.THREAD)
        self._begun = dict(
            zip(program.arg0[begun].tolist(), begun.tolist(), strict=True)
        )  # by list: its THREAD
        self._lists: dict[int, list[int]] = {}  # of processes with several threads
        for number, process in enumerate(program.thread_process.tolist(), len(program.parent)):
            self._lists.setdefault(process, [process]).append(number)
        self._pipes = PipeStates(program, part)
        self._files = FileStates(program, part)

    def _exec_before(self, process: int, upto: int) -> int:
        """Return the last EXEC step of `process` before step `upto`, or -1."""
        i = int(np.searchsorted(self._execs, upto)) - 1
        found = int(self._execs[i]) if i >= 0 else -1
        return found if found >= self.program.first_step[process] else -1

    def _steps(self, process: int, first: int, t_ns: int, upto: int) -> npt.NDArray[np.int64]:
        """Return what the threads of `process` have done, in order: its steps first..upto, the others' to `t_ns`."""
        own = np.arange(first, upto, dtype=np.int64)
        if process not in self._lists:
            return own
        program = self.program
        parts = [own]
        for number in self._lists[process][1:]:
            a, b = int(program.first_step[number]), int(program.first_step[number + 1])
            parts.append(
                np.arange(a, a + int(np.searchsorted(program.time[a:b], t_ns, side="right")), dtype=np.int64)
            )
        steps = np.concatenate(parts)
        return steps[np.argsort(program.time[steps], kind="stable")]

    def _ranges(self, process: int, t_ns: int, upto: int) -> list[npt.NDArray[np.int64]]:
        """Return the steps that made the address space that `process` has at its step `upto`, at time `t_ns`."""
        program = self.program
        ranges: list[npt.NDArray[np.int64]] = []
        while process >= 0:
            last_exec = self._exec_before(process, upto)
            if last_exec >= 0:
                return [self._steps(process, last_exec, t_ns, upto), *ranges]
            ranges.insert(0, self._steps(process, int(program.first_step[process]), t_ns, upto))
            fork = int(self._fork_step[process])
            process = int(program.parent[process])
            if fork >= 0:
                t_ns = int(program.time[fork])
                a, b = int(program.first_step[process]), int(program.first_step[process + 1])
                by_first_thread = a <= fork < b
                upto = (
                    fork
                    if by_first_thread
                    else a + int(np.searchsorted(program.time[a:b], t_ns, side="right"))
                )
        return ranges

    def _lasting(self, steps: npt.NDArray[np.int64], forks: list[int]) -> npt.NDArray[np.int64]:
        """Return those of `steps` that leave something behind; touches once a page.

        Each row is step, access. `forks` are the FORK steps to keep.
        """
        op = self.program.op[steps]
        kept = _LASTS[op] | np.isin(steps, forks)
        segment = np.cumsum(kept)
        touch = np.flatnonzero(op == pr.TOUCH)
        page = (self.program.arg0[steps][touch] // pr.PAGE_BYTES).astype(np.int64)
        rank = _RANK[self.program.arg2[steps][touch]]
        key = (segment[touch] << _PAGE_BITS) | page
        order = np.argsort(key * len(_ACCESS) + rank, kind="stable")
        best = order[np.append(np.diff(key[order]) != 0, True)] if len(order) else order
        found = np.concatenate([np.flatnonzero(kept), touch[best]])
        place = np.concatenate([segment[kept] << _PAGE_BITS, key[best]])
        access = np.concatenate([np.full(int(kept.sum()), -1), rank[best]])
        return np.stack([steps[found], access], axis=1)[np.argsort(place, kind="stable")]

    def _threads(self, t_ns: int, alive: list[int]) -> list[tuple[int, int]]:
        program, threads = self.program, []
        for process in alive:
            for number in self._lists.get(process, [])[1:]:
                if number in self._begun and program.time[self._begun[number]] <= t_ns:
                    a, b = int(program.first_step[number]), int(program.first_step[number + 1])
                    threads.append((number, a + int(np.searchsorted(program.time[a:b], t_ns, side="right"))))
        return threads

    def at(self, t_ns: int) -> Start:
        """Return the state at recording time `t_ns`."""
        program = self.program
        alive, next_step = program.alive_at(t_ns, self.part)
        upto = dict(zip(alive.tolist(), next_step.tolist(), strict=True))
        inherits: dict[int, int] = {}  # FORK step -> child that still has the address space it was given
        for process in upto:
            parent, fork = int(program.parent[process]), int(self._fork_step[process])
            if (
                self._exec_before(process, upto[process]) < 0
                and parent in upto
                and program.first_step[parent] <= fork < program.first_step[parent + 1]
                and self._exec_before(parent, upto[parent]) <= fork
            ):
                inherits[fork] = process
        parts = []
        children = set(inherits.values())
        for process in upto:
            if process in children:
                ranges = [self._steps(process, int(program.first_step[process]), t_ns, upto[process])]
            else:
                ranges = self._ranges(process, t_ns, upto[process])
            forks = [fork for fork, child in inherits.items() if program.parent[child] == process]
            for of_one in ranges:
                steps = self._lasting(of_one, forks)
                parts.append(np.column_stack([np.full(len(steps), process), steps]))
        made = np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)
        process_of, step, access = made[:, 0], made[:, 1], made[:, 2]
        touch = access >= 0
        pipes, held = self._pipes.at(t_ns)
        ends = [(process, pr.HOLD, pipe, end, 0) for process in upto for pipe, end in held.get(process, ())]
        ends += [step for step in self._files.at(t_ns) if step[0] in upto]
        holds = np.array(ends, np.int64).reshape(-1, 5)
        process_of = np.concatenate([holds[:, 0], process_of])
        order = np.argsort(process_of, kind="stable")

        def column(of_holds: npt.NDArray[Any], of_steps: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.concatenate([of_holds.astype(of_steps.dtype), of_steps])[order]

        accesses = np.where(touch, _ACCESS[np.maximum(access, 0)], program.arg2[step])
        return Start(
            time=t_ns,
            alive=alive,
            next_step=next_step,
            process=process_of[order].astype(np.int32),
            op=column(holds[:, 1], program.op[step]),
            arg0=column(holds[:, 2], program.arg0[step]),
            arg1=column(holds[:, 3], program.arg1[step]),
            arg2=column(holds[:, 4], accesses.astype(np.uint32)),
            threads=self._threads(t_ns, alive.tolist()),
            pipes=pipes,
        )
