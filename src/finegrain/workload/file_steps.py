"""Makes steps of a recording's file calls, process by process.

A recording's FILE_CLOSE says that a file's last descriptor in any process is gone. A process that opened it, gave it to
a child and closed it before that, closes it here when that child has closed it or ended: until then nothing tells the
two apart.
"""

from bisect import bisect_right
from collections import Counter, defaultdict

import numpy as np
import numpy.typing as npt
import polars as pl

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload import syscalls as sc
from finegrain.workload.draft import Draft
from finegrain.workload.file_tree import EEXIST, ENOENT, ENOTEMPTY, Paths
from finegrain.workload.recording import Recording
from finegrain.workload.rows import Rows

# Calls that do in a replay what they did when they fail like this; others that failed look their path up.
_REPEATED = (ENOENT, EEXIST, ENOTEMPTY)
_MAKING = (rec.FILE_MKDIR, rec.FILE_RMDIR, rec.FILE_UNLINK, rec.FILE_SYMLINK)
_FLAGS = {
    sc.O_CREAT: pr.OPEN_CREAT,
    sc.O_EXCL: pr.OPEN_EXCL,
    sc.O_TRUNC: pr.OPEN_TRUNC,
    sc.O_APPEND: pr.OPEN_APPEND,
}
_ACCESS = (pr.OPEN_READ, pr.OPEN_WRITE, pr.OPEN_READ | pr.OPEN_WRITE, pr.OPEN_READ)  # by Linux's O_ACCMODE
_OPS = {
    rec.FILE_FSTAT: pr.FILE_FSTAT,
    rec.FILE_READ: pr.FILE_READ,
    rec.FILE_WRITE: pr.FILE_WRITE,
    rec.FILE_GETDENTS: pr.FILE_GETDENTS,
}


class FileSteps:
    """Takes the rows of file calls of one process after another, in order of creation."""

    def __init__(self, recording: Recording, rows: Rows, paths: Paths, draft: Draft) -> None:
        """Note when which file is closed for the last time."""
        self._paths = paths
        self._rows = rows
        self._draft = draft
        self._numbers = paths.of_recording
        closes = rows.events.filter((pl.col("kind") == rec.FILE_CLOSE) & (pl.col("path") > 0))
        self._closes: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)  # by path: time, process
        for time, process, path in closes.sort("time").select("time", "process", "path").iter_rows():
            if self._numbers[path] >= 0:
                self._closes[self._numbers[path]].append((time, process))
        self._own: defaultdict[tuple[int, int], list[int]] = defaultdict(list)  # by process, path: times
        for path, when in self._closes.items():
            for time, process in when:
                self._own[process, path].append(time)
        self._time = rows.events["time"].to_numpy()
        self._held: Counter[int] = Counter()  # open files of the process, by path
        self._cloexec: set[int] = set()
        self._due: list[tuple[int, int]] = []  # when to close which of them
        self._inherited: dict[int, tuple[Counter[int], set[int]]] = {}
        self._process = 0
        self._executed: tuple[int, int] | None = None  # row and path of the call that an EXEC is to follow

    def begin(self, process: int) -> None:
        """Begin with the rows of a process."""
        self._process = process
        self._held, self._cloexec = self._inherited.pop(process, (Counter(), set()))
        self._due = []

    def fork(self, row: int, child: int) -> None:
        """Let a child have what is open."""
        self._close_due(row)
        self._inherited[child] = self._held.copy(), self._cloexec.copy()

    def exec(self, row: int, program: int) -> None:
        """Close what exec closes. A script is looked up here, a program by the EXEC step itself."""
        if self._executed is not None and self._executed[1] != program:
            self._draft.add(row, pr.FILE_STAT, self._executed[1])
        self._executed = None
        for path in sorted(self._cloexec):
            self._close(row, path)
        self._cloexec = set()

    def last_opened(self) -> list[int]:
        """Return the paths of the files that the process has open, the one opened last first."""
        return list(reversed([path for path, count in self._held.items() if count]))

    def _close(self, row: int, path: int) -> None:
        if self._held[path] > 0:
            self._held[path] -= 1
            if not self._held[path]:
                del self._held[path]
            self._draft.add(row, pr.FILE_CLOSE, path)

    def _close_due(self, row: int) -> None:
        now = int(self._time[row]) if self._due else 0
        while self._due and self._due[0][0] <= now:
            self._close(row, self._due.pop(0)[1])

    def _opened(self, row: int, path: int, flags: int) -> None:
        """Note a file that is open from now on, and when it is to be closed if no row of the process says so."""
        self._held[path] = self._held.pop(path, 0) + 1  # the last one opened comes last
        if flags & sc.O_CLOEXEC:
            self._cloexec.add(path)
        now = int(self._time[row])
        own = self._own[self._process, path]
        if bisect_right(own, now) < len(own):
            return
        closes = self._closes[path]
        for time, process in closes[bisect_right(closes, (now, 1 << 62)) :]:
            if self._came_after(process, now):
                self._due.append((time, path))
                self._due.sort()
                return

    def _came_after(self, process: int, time: int) -> bool:
        """Say whether `process` is a child of this one, or of one of those, forked after that time."""
        while process > self._process:
            if self._rows.parent[process] == self._process:
                return int(self._rows.start[process]) >= time
            process = int(self._rows.parent[process])
        return False

    def call(self, row: int, kind: int, columns: tuple[int, ...]) -> None:
        """Take the row of a call: page, pages, info, path, path2, error."""
        page, pages, info, path, path2, error = columns
        self._close_due(row)
        draft = self._draft
        if not path:
            draft.inferred["file calls without a name"] += kind != rec.FILE_CLOSE
            return
        number, other = self._numbers[path], self._numbers[path2] if path2 else -1
        if number < 0:
            draft.inferred["file calls elsewhere than in a tmpfs"] += kind != rec.FILE_CLOSE
            return
        if error and not (error in _REPEATED and kind in _MAKING):
            nofollow = kind in (rec.FILE_READLINK, rec.FILE_RENAME)
            draft.add(row, pr.FILE_LSTAT if nofollow else pr.FILE_STAT, number)
        elif kind == rec.FILE_OPEN:
            flags = _ACCESS[info & 3]
            for theirs, ours in _FLAGS.items():
                flags |= ours if info & theirs else 0
            draft.add(row, pr.FILE_OPEN, number, 0, flags)
            self._opened(row, number, info)
        elif kind == rec.FILE_CLOSE:
            self._close(row, number)
        elif kind in _OPS:
            if self._held[number] > 0:
                draft.add(row, _OPS[kind], number, page, pages)
            else:
                draft.inferred["calls on files that the process has not opened"] += 1
        elif kind == rec.FILE_TRUNCATE:
            draft.add(row, pr.FILE_TRUNCATE, number, pages, int(self._held[number] > 0))
        elif kind == rec.FILE_EXEC:
            self._executed = row, number
        elif kind in (rec.FILE_STAT, rec.FILE_ACCESS):
            draft.add(row, pr.FILE_STAT, number)
        elif kind == rec.FILE_READLINK:
            draft.add(row, pr.FILE_LSTAT, number)
        elif kind in (rec.FILE_RENAME, rec.FILE_LINK, rec.FILE_SYMLINK):
            if other >= 0:
                op = {
                    rec.FILE_RENAME: pr.FILE_RENAME,
                    rec.FILE_LINK: pr.FILE_LINK,
                    rec.FILE_SYMLINK: pr.FILE_SYMLINK,
                }[kind]
                draft.add(row, op, number, other)
        else:
            op = {
                rec.FILE_UNLINK: pr.FILE_UNLINK,
                rec.FILE_RMDIR: pr.FILE_RMDIR,
                rec.FILE_MKDIR: pr.FILE_MKDIR,
                rec.FILE_CHDIR: pr.FILE_CHDIR,
                rec.FILE_SETATTR: pr.FILE_SETATTR,
            }[kind]
            draft.add(row, op, number)


def interned(paths: Paths) -> tuple[npt.NDArray[np.uint32], list[str]]:
    """Return a number for the last component of each path, and the names that they stand for."""
    numbers: dict[str, int] = {}
    names = [name.rpartition("/")[2] for name in paths.names]
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.uint32), list(numbers)
