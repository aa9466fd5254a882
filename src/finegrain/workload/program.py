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

Addresses and lengths are in bytes and multiples of 4096. Paths are numbers: `path_parent` and `path_name` tell what
they stand for, and `tree_*` what is there when; a file call may find another state and fail, as any program's may.

A process's first thread takes the list of steps with the process's index; the lists of further threads follow those of
all processes, and `thread_process` names the process of each. Their steps are in the order of their own time. Where a
thread's step needs what another one has done to their address space, an AWAIT before it waits for a step that the
recording has before it; so does the first thread before it EXITs, for all others.

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
| THREAD | index of the new thread's list of steps | | |
| AWAIT | index of a list of steps of this process | step in it that it must have come to | |
| FILE_OPEN | path | | OPEN_* bits |
| FILE_CLOSE, FILE_FSTAT | path of a file that the process has open | | |
| FILE_READ, FILE_WRITE | likewise | offset, bytes | bytes |
| FILE_GETDENTS | likewise; a directory | | bytes of the answer |
| FILE_TRUNCATE | path | new size, bytes | 1: by a descriptor |
| FILE_STAT | path; look it up | | |
| FILE_LSTAT | the same; a symbolic link at the end is what is meant | | |
| FILE_UNLINK, FILE_RMDIR, FILE_MKDIR, FILE_CHDIR, FILE_SETATTR | path | | |
| FILE_RENAME, FILE_LINK | old path | new path | |
| FILE_SYMLINK | path of the link | path that it names | |

After EXEC come MMAP steps with MAP_EXEC: the segments of the program and of its interpreter, and the stack.
"""

from dataclasses import dataclass, field
from typing import Any, Final

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
THREAD: Final = 11
SETPGID: Final = 12
SETSID: Final = 13
KILLPG: Final = 14
PIPE: Final = 15
READ: Final = 16
WRITE: Final = 17
CLOSE: Final = 18
HOLD: Final = 19
AWAIT: Final = 20
FILE_OPEN: Final = 21
FILE_CLOSE: Final = 22
FILE_FSTAT: Final = 23
FILE_READ: Final = 24
FILE_WRITE: Final = 25
FILE_GETDENTS: Final = 26
FILE_TRUNCATE: Final = 27
FILE_STAT: Final = 28
FILE_LSTAT: Final = 29
FILE_UNLINK: Final = 30
FILE_RMDIR: Final = 31
FILE_MKDIR: Final = 32
FILE_CHDIR: Final = 33
FILE_SETATTR: Final = 34
FILE_RENAME: Final = 35
FILE_LINK: Final = 36
FILE_SYMLINK: Final = 37
OP_NAMES: Final = (
    "touch", "mmap", "munmap", "mprotect", "brk", "fork", "vfork", "exec", "exit", "wait", "sleep",
    "thread", "setpgid", "setsid", "killpg", "pipe", "read", "write", "close", "hold", "await",
    "file_open", "file_close", "file_fstat", "file_read", "file_write", "file_getdents", "file_truncate",
    "file_stat", "file_lstat", "file_unlink", "file_rmdir", "file_mkdir", "file_chdir", "file_setattr",
    "file_rename", "file_link", "file_symlink",
)  # fmt: skip
PIPE_READ_END: Final = 0
PIPE_WRITE_END: Final = 1

# of FILE_OPEN; as FreeBSD's sys/fcntl.h has them
OPEN_READ: Final = 1
OPEN_WRITE: Final = 2
OPEN_APPEND: Final = 8
OPEN_CREAT: Final = 0x200
OPEN_TRUNC: Final = 0x400
OPEN_EXCL: Final = 0x800

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
NO_PATH: Final = -1
PAGE_BYTES: Final = 4096


def _none() -> npt.NDArray[Any]:
    return np.zeros(0, np.int32)


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
    first_step: npt.NDArray[
        np.int64
    ]  # list p's steps are first_step[p]:first_step[p + 1]; P lists and T more
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
    file_path: npt.NDArray[np.int32] = field(default_factory=_none, repr=False)  # of files mapped; NO_PATH
    # paths, each after its directory; the first is the root. None: the recording has no file calls
    path_parent: npt.NDArray[np.int32] = field(default_factory=_none, repr=False)
    path_name: npt.NDArray[np.uint32] = field(default_factory=_none, repr=False)  # index into `names`
    names: list[str] = field(default_factory=list, repr=False)
    # what becomes of each path, in order of time: see file_tree.Tree
    tree_time: npt.NDArray[np.int64] = field(default_factory=_none, repr=False)
    tree_path: npt.NDArray[np.int32] = field(default_factory=_none, repr=False)
    tree_bytes: npt.NDArray[np.int64] = field(default_factory=_none, repr=False)
    tree_part: npt.NDArray[np.int32] = field(default_factory=_none, repr=False)  # none: all of part 0
    thread_process: npt.NDArray[np.int32] = field(
        default_factory=_none, repr=False
    )  # of the T further threads
    lacks: list[str] = field(default_factory=list)  # what the recordings do not tell of: of recording.LACKS
    inferred: dict[str, int] = field(default_factory=dict)  # how many steps which rule made or changed
    # the recordings that it is made of (see mix.py); none: one, which is all of it
    part_name: list[str] = field(default_factory=list, repr=False)
    part_process: npt.NDArray[np.int32] = field(
        default_factory=_none, repr=False
    )  # of each part, the first; and P
    part_duration: npt.NDArray[np.int64] = field(default_factory=_none, repr=False)  # ns
    part_share: npt.NDArray[np.float64] = field(default_factory=_none, repr=False)  # of builders' time

    @property
    def parts(self) -> int:
        """How many recordings it is made of."""
        return max(1, len(self.part_share))

    def processes_of(self, part: int) -> tuple[int, int]:
        """Return the first process of a part, and the first one that is not its any more."""
        if not len(self.part_share):
            return 0, len(self.parent)
        return int(self.part_process[part]), int(self.part_process[part + 1])

    def duration_of(self, part: int) -> int:
        """Return how long a part's recording took, ns."""
        return int(self.part_duration[part]) if len(self.part_share) else self.duration_ns

    def process_of(self, lists: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the process of each list of steps."""
        own = np.arange(len(self.parent), dtype=np.int64)
        processes = np.concatenate([own, self.thread_process.astype(np.int64)])
        of: npt.NDArray[np.int64] = processes[lists]
        return of

    def in_part(self, steps: npt.NDArray[np.int64], part: int) -> npt.NDArray[np.bool_]:
        """Say of each step whether it is a part's."""
        first, stop = self.processes_of(part)
        process = self.process_of(np.searchsorted(self.first_step, steps, side="right") - 1)
        return (first <= process) & (process < stop)

    def alive_at(self, t_ns: int, part: int = 0) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return which processes of a part are alive at recording time `t_ns`, and the next step of each.

        A process is alive from its FORK step on (`start <= t_ns`) and as long as its EXIT is still to come.
        A WAIT that is still to come may name a child that exited before `t_ns`: it does not wait.
        """
        first, stop = self.processes_of(part)
        ends = self.time[self.first_step[first + 1 : stop + 1] - 1]
        alive = first + np.flatnonzero((self.start[first:stop] <= t_ns) & (ends > t_ns))
        next_step = np.empty(len(alive), np.int64)
        for i, process in enumerate(alive):
            first, last = self.first_step[process], self.first_step[process + 1]
            next_step[i] = first + np.searchsorted(self.time[first:last], t_ns, side="right")
        return alive.astype(np.int32), next_step
