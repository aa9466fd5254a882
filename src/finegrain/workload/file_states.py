"""Which files each process has open, and where it works, as time goes on."""

from collections import Counter, defaultdict

import numpy as np

from finegrain.workload import program as pr
from finegrain.workload.program import Program

Step = tuple[int, int, int, int, int]  # process, op, arguments
_OPS = [pr.FILE_OPEN, pr.FILE_CLOSE, pr.FILE_CHDIR, pr.FORK, pr.VFORK, pr.EXIT]
_KEPT = pr.OPEN_READ | pr.OPEN_WRITE | pr.OPEN_APPEND


class FileStates:
    """The open files and working directories of a program at one time after another."""

    def __init__(self, program: Program, part: int = 0) -> None:
        """Find the steps of a part that change them."""
        self._program = program
        steps = (
            np.flatnonzero(np.isin(program.op, _OPS)) if len(program.path_parent) else np.zeros(0, np.int64)
        )
        steps = steps[program.in_part(steps, part)]
        lists = np.searchsorted(program.first_step, steps, side="right") - 1
        # where a further thread ends, its process's files stay open
        own = (program.op[steps] != pr.EXIT) | (lists < len(program.parent))
        steps, lists = steps[own], lists[own]
        order = np.argsort(program.time[steps], kind="stable")
        self._steps = steps[order]
        self._times = program.time[self._steps]
        self._process = program.process_of(lists[order]).tolist()
        self._restart()

    def _restart(self) -> None:
        self._next = 0
        self._open: defaultdict[int, Counter[tuple[int, int]]] = defaultdict(Counter)  # path and flags
        self._directory: dict[int, int] = {}

    def _take(self, process: int, op: int, arg0: int, arg2: int) -> None:
        if op == pr.FILE_OPEN:
            self._open[process][arg0, arg2 & _KEPT] += 1
        elif op == pr.FILE_CLOSE:
            for key in [key for key in self._open[process] if key[0] == arg0][:1]:
                self._open[process][key] -= 1
                if not self._open[process][key]:
                    del self._open[process][key]
        elif op == pr.FILE_CHDIR:
            self._directory[process] = arg0
        elif op == pr.EXIT:
            self._open.pop(process, None)
            self._directory.pop(process, None)
        else:
            if self._open[process]:
                self._open[arg0] = self._open[process].copy()
            if process in self._directory:
                self._directory[arg0] = self._directory[process]

    def at(self, t_ns: int) -> list[Step]:
        """Return the steps that give each process its working directory and open files of recording time `t_ns`."""
        upto = int(np.searchsorted(self._times, t_ns, side="right"))
        if upto < self._next:
            self._restart()
        program = self._program
        for i in range(self._next, upto):
            step = self._steps[i]
            self._take(
                self._process[i], int(program.op[step]), int(program.arg0[step]), int(program.arg2[step])
            )
        self._next = upto
        steps = [(process, pr.FILE_CHDIR, path, 0, 0) for process, path in self._directory.items()]
        for process, files in self._open.items():
            for (path, flags), count in files.items():
                steps += [(process, pr.FILE_OPEN, path, 0, flags)] * count
        return steps
