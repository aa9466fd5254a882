"""Who has which ends of which pipes, and what is in the pipes, as time goes on."""

from bisect import bisect_left
from collections import defaultdict

import numpy as np
import polars as pl

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.program import Program
from finegrain.workload.rows import Rows

End = tuple[int, int]  # pipe, PIPE_READ_END or PIPE_WRITE_END
_BOTH = (pr.PIPE_READ_END, pr.PIPE_WRITE_END)
# A process closes its descriptors a little before the record of the exec or exit that does so.
_BEFORE_RECORD_NS = 1_000_000


class Ends:
    """The processes' ends of pipes at one time."""

    def __init__(self) -> None:
        """Begin with none."""
        self.of: defaultdict[int, set[End]] = defaultdict(set)  # by process
        self.holders: defaultdict[End, set[int]] = defaultdict(set)

    def give(self, process: int, ends: list[End]) -> None:
        """Let `process` have these ends."""
        self.of[process].update(ends)
        for end in ends:
            self.holders[end].add(process)

    def make(self, process: int, pipe: int) -> None:
        """A pipe is made."""
        self.give(process, [(pipe, end) for end in _BOTH])

    def fork(self, parent: int, child: int) -> None:
        """A child gets what its parent has."""
        self.give(child, list(self.of[parent]))

    def close(self, process: int, end: End) -> None:
        """A process has an end no longer."""
        self.of[process].discard(end)
        self.holders[end].discard(process)

    def exit(self, process: int) -> None:
        """A process has none any longer."""
        for end in self.of.pop(process, set()):
            self.holders[end].discard(process)


def unexplained(rows: Rows) -> set[int]:
    """Return the pipes whose rows do not agree: something of their story is missing.

    A process reads, writes or closes an end that it has not, or reads what nobody has written, or the end of file while
    somebody can still write. Everything that waits in a replay would not end there.
    """
    kind = pl.col("kind")
    order = {rec.WRITE: 0, rec.READ: 2}
    events = rows.events.filter(kind.is_in([rec.PIPE, rec.READ, rec.WRITE, rec.CLOSE, rec.FORK, rec.EXIT]))
    if not events["kind"].is_in([rec.PIPE]).any():
        return set()
    began = pl.col("time") - pl.when(kind == rec.WRITE).then(pl.col("offset")).otherwise(0).cast(pl.Int64) * (
        rec.TIME_UNIT_NS
    )
    events = events.select(
        "process", "kind", "pages", "info", began.alias("at"),
        kind.replace_strict(order, default=1, return_dtype=pl.Int8).alias("rank"),
    ).sort("at", "rank", maintain_order=True)  # fmt: skip
    closes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)  # of write ends, by process and pipe
    for process, pipe, at in (
        events.filter((kind == rec.CLOSE) & (pl.col("pages") == pr.PIPE_WRITE_END))
        .select("process", "info", "at")
        .iter_rows()
    ):
        closes[process, pipe].append(at)

    def writes_later(process: int, pipe: int, at: int) -> bool:
        later = closes[process, pipe]
        i = bisect_left(later, at)
        return (later[i] if i < len(later) else int(rows.end[process])) > at + _BEFORE_RECORD_NS

    ends, bad = Ends(), set()
    inside: defaultdict[int, int] = defaultdict(int)
    for process, what, number, pipe, at, _ in events.iter_rows():
        if what == rec.PIPE:
            ends.make(process, pipe)
        elif what == rec.FORK:
            if rows.parent[pipe] == process:
                ends.fork(process, pipe)
        elif what == rec.EXIT:
            ends.exit(process)
        elif what == rec.CLOSE:
            if (pipe, number) not in ends.of[process]:
                bad.add(pipe)
            ends.close(process, (pipe, number))
        elif what == rec.WRITE:
            inside[pipe] += number
            if (pipe, pr.PIPE_WRITE_END) not in ends.of[process]:
                bad.add(pipe)
        else:
            inside[pipe] -= number
            writers = ends.holders[pipe, pr.PIPE_WRITE_END] if number == 0 else ()
            if (
                (pipe, pr.PIPE_READ_END) not in ends.of[process]
                or inside[pipe] < 0
                or any(writes_later(writer, pipe, at) for writer in writers)
            ):
                bad.add(pipe)
    return bad


class PipeStates:
    """The pipes of a program at one time after another."""

    def __init__(self, program: Program, part: int = 0) -> None:
        """Find the steps of a part that change them."""
        ops = [pr.PIPE, pr.READ, pr.WRITE, pr.CLOSE, pr.FORK, pr.VFORK, pr.EXIT]
        self._program = program
        piped = bool((program.op == pr.PIPE).any())
        steps = np.flatnonzero(np.isin(program.op, ops)) if piped else np.zeros(0, np.int64)
        steps = steps[program.in_part(steps, part)]
        self._steps = steps[np.argsort(program.time[steps], kind="stable")]
        self._times = program.time[self._steps]
        lists = np.searchsorted(program.first_step, self._steps, side="right") - 1
        self._process = program.process_of(lists)
        self._restart()

    def _restart(self) -> None:
        self._next = 0
        self._ends = Ends()
        self._inside: defaultdict[int, int] = defaultdict(int)

    def at(self, t_ns: int) -> tuple[list[tuple[int, int, int, int]], dict[int, list[End]]]:
        """Return the pipes at recording time `t_ns`, and the ends that each process has.

        A pipe is (its index, bytes in it, how many processes have its read end, and its write end).
        """
        upto = int(np.searchsorted(self._times, t_ns, side="right"))
        if upto < self._next:
            self._restart()
        ends, program = self._ends, self._program
        for i in range(self._next, upto):
            step, process = self._steps[i], int(self._process[i])
            op, arg0, arg1 = program.op[step], int(program.arg0[step]), int(program.arg1[step])
            if op == pr.PIPE:
                ends.make(process, arg0)
            elif op in (pr.FORK, pr.VFORK):
                ends.fork(process, arg0)
            elif op == pr.CLOSE:
                ends.close(process, (arg0, arg1))
            elif op == pr.EXIT:
                if step == program.first_step[process + 1] - 1:  # the process's, not a further thread's
                    ends.exit(process)
            else:
                self._inside[arg0] += arg1 if op == pr.WRITE else -arg1
        self._next = upto
        held = {process: sorted(of) for process, of in ends.of.items() if of}
        numbers = sorted({pipe for of in held.values() for pipe, _ in of})
        readers, writers = ({p: len(ends.holders[p, end]) for p in numbers} for end in _BOTH)
        pipes = [(p, max(0, self._inside[p]), readers[p], writers[p]) for p in numbers]
        return pipes, held
