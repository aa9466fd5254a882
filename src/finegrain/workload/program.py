"""The compiled program: a recording as plain arrays that a replay executes.

Each process has a list of steps. A replay lets `user_ns` of user time pass, then does what `op` says with
`arg0`, `arg1` and `arg2`, then goes on. What the recording did not say has been inferred by then (see
docs/recordings.md), so that a program is consistent in itself:

- a TOUCH lies in a mapping that is live in its process at that step, and the mapping's protection allows
  it; FORK gives the child a copy of the parent's mappings, VFORK lends them until the child's EXEC or
  EXIT, EXEC clears them, MMAP replaces what it overlaps;
- the child of a FORK or VFORK runs from that step on, and is forked exactly once;
- WAIT names a child of its own process, each child at most once;
- each process ends with exactly one EXIT;
- a process reads, writes and closes only ends of pipes that it has: those that it made, and those that its parent had
  at the FORK; until its CLOSE. And every step that waits for another process's step does so for one that the recording
  has before it: READ for as many bytes as it says, READ of 0 for the last CLOSE or EXIT of a process with the write
  end, WRITE for room in 64 KB. So no order in which a replay's processes run makes them wait for each other in a ring.

Addresses and lengths are in bytes and multiples of 4096.

| op | arg0 | arg1 | arg2 |
|---|---|---|---|
| TOUCH | address | | TOUCH_* bits; 0 is a read |
| MMAP | address | length | index into the map_* arrays |
| MUNMAP | address | length | |
| MPROTECT | address | length | PROT_* bits |
| BRK | new end of the heap | old end; the same in the first after an EXEC, which only says where it is | |
| FORK, VFORK | child's process index | | |
| EXEC | index of the program's file | | |
| EXIT | | | |
| WAIT | child's process index | | |
| SLEEP | ns off the CPU | | |
| SETPGID | process index: itself or a child | process index of the group's leader; the same as arg0: a new group | |
| SETSID | | | |
| KILLPG | process index of the group's leader; one that leads none: the caller's own group | | |
| PIPE | pipe's index | | |
| READ, WRITE | pipe's index | bytes; READ of 0 is the end of file | |
| CLOSE | pipe's index | PIPE_READ_END or PIPE_WRITE_END | |
| HOLD | likewise; in a Start alone: the process has that end | | |

After EXEC come MMAP steps with MAP_EXEC: the segments of the program and of its interpreter, and the stack.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

TOUCH: Final = 0
MMAP: Final = 1
MUNMAP: Final = 2
MPROTECT: Final = 3
BRK: Final = 4
FORK: Final = 5
VFORK: Final = 6
EXEC: Final = 7
EXIT: Final = 8
WAIT: Final = 9
SLEEP: Final = 10
# 11 is not used yet
SETPGID: Final = 12
SETSID: Final = 13
KILLPG: Final = 14
PIPE: Final = 15
READ: Final = 16
WRITE: Final = 17
CLOSE: Final = 18
HOLD: Final = 19
OP_NAMES: Final = (
    "touch", "mmap", "munmap", "mprotect", "brk", "fork", "vfork", "exec", "exit", "wait", "sleep",
    "", "setpgid", "setsid", "killpg", "pipe", "read", "write", "close", "hold",
)  # fmt: skip
PIPE_READ_END: Final = 0
PIPE_WRITE_END: Final = 1

TOUCH_WRITE: Final = 1
TOUCH_EXEC: Final = 2

PROT_READ: Final = 1
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4

MAP_PRIVATE: Final = 1
MAP_SHARED: Final = 2
MAP_STACK: Final = 4
MAP_EXEC: Final = 8  # made by exec
MAP_FIXED: Final = 16  # something live lies in the range and is replaced

NO_FILE: Final = -1
PAGE_BYTES: Final = 4096


@dataclass(frozen=True)
class Program:
    """One recording, compiled; see the top of this module for the steps."""

    name: str
    kind: str  # of the recording: "tracepoints" or "software"
    duration_ns: int
    # processes, in order of creation
    parent: npt.NDArray[np.int32]  # -1: there from the start
    start: npt.NDArray[np.int64]  # recording time (ns) of creation
    end: npt.NDArray[np.int64]  # recording time (ns) of exit, or the recording's end
    first_step: npt.NDArray[np.int64]  # length P + 1: process p's steps are first_step[p]:first_step[p + 1]
    # steps, each process's together and in order
    op: npt.NDArray[np.uint8] = field(repr=False)
    user_ns: npt.NDArray[np.uint32] = field(repr=False)  # user time before the step
    time: npt.NDArray[np.int64] = field(repr=False)  # recording time (ns)
    arg0: npt.NDArray[np.uint64] = field(repr=False)
    arg1: npt.NDArray[np.uint64] = field(repr=False)
    arg2: npt.NDArray[np.uint32] = field(repr=False)
    # kinds of mapping, named by MMAP's arg2
    map_file: npt.NDArray[np.int32] = field(repr=False)  # NO_FILE: anonymous memory
    map_page: npt.NDArray[np.int64] = field(repr=False)  # page of the file at the mapping's start
    map_prot: npt.NDArray[np.uint8] = field(repr=False)  # PROT_* bits
    map_flags: npt.NDArray[np.uint8] = field(repr=False)  # MAP_* bits
    # files
    file_name: list[str] = field(repr=False)
    file_pages: npt.NDArray[np.int64] = field(repr=False)  # size, in pages, as far as mappings reach
    inferred: dict[str, int] = field(default_factory=dict)  # how many steps which rule made or changed

    def alive_at(self, t_ns: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return which processes are alive at recording time `t_ns`, and the next step of each.

        A process is alive from its FORK step on (`start <= t_ns`) and as long as its EXIT is still to come.
        A WAIT that is still to come may name a child that exited before `t_ns`: it does not wait.
        """
        alive = np.flatnonzero((self.start <= t_ns) & (self.time[self.first_step[1:] - 1] > t_ns))
        next_step = np.empty(len(alive), np.int64)
        for i, process in enumerate(alive):
            first, last = self.first_step[process], self.first_step[process + 1]
            next_step[i] = first + np.searchsorted(self.time[first:last], t_ns, side="right")
        return alive.astype(np.int32), next_step
