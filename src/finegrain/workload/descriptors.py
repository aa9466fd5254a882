"""Follows every process's descriptors through the raw records: which are ends of pipes, which are open files.

The tracepoint of pipe does not say which descriptors it made. They are the two lowest free ones, so the table of each
process is followed: whatever makes, copies or closes a descriptor, fork and exec. Where a call returns another number
than the table has free, the table is put right: what lies below is in use by something unknown. With the table go the
current directory, and what file calls do (see file_calls).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl

from finegrain.workload import recording as rec
from finegrain.workload.file_calls import NEEDED as FILES_NEEDED
from finegrain.workload.file_calls import At, FileCalls
from finegrain.workload.syscalls import ERROR, FILE_CALLS, O_CLOEXEC
from finegrain.workload.tables import OTHER, OpenFile, Table, Thing

# raw records that this needs
NEEDED = [
    "enter_pipe", "exit_pipe", "close", "close_range", "enter_dup", "exit_dup", "enter_fcntl", "exit_fcntl",
    "exit_make", "fork", "exec", "exit", *FILES_NEEDED,
]  # fmt: skip
_F_DUPFD, _F_SETFD, _F_DUPFD_CLOEXEC = 0, 2, 1030
_CLOSE_RANGE_CLOEXEC = 4


@dataclass(frozen=True)
class Followed:
    """What came of it: rows (file_calls.SCHEMA), and the paths that `path` and `path2` number from 1 on."""

    rows: pl.DataFrame
    paths: list[str]


@dataclass
class _Entered:
    """A call that has begun."""

    what: str
    row: int
    time: int
    since: int  # when it was entered, or when a probe before it began
    args: tuple[int, int, int, int, int]
    names: list[str | None] = field(default_factory=list)


class _Follower:
    """Takes the records in order of time, and makes rows."""

    def __init__(self, first: Table, ends: dict[int, int]) -> None:
        self.first = first
        self.ends = ends  # the row of each process's last exit
        self.tables: dict[int, Table] = {}
        self.entered: dict[int, _Entered] = {}  # by tid
        self.calls = FileCalls()
        self.pipes = 0

    def close(self, at: At, things: Iterator[Thing]) -> None:
        for thing in things:
            if isinstance(thing, OpenFile):
                self.calls.close(at, thing)
            else:
                pipe, end = thing
                self.calls.add(at, rec.CLOSE, pages=end, info=pipe)

    def made(self, at: At, table: Table, fd: int, thing: Thing, cloexec: bool) -> None:
        """A call has returned a new descriptor, the lowest that was free."""
        for below in range(fd):
            table.of.setdefault(below, OTHER)
        self.close(at, table.put(fd, thing, cloexec))

    def begin(self, at: At, table: Table, what: str, a: int, b: int, c: int) -> None:
        """Take the beginning of a call that needs no end: close, close_range."""
        if what == "close":
            self.close(at, table.drop(a))
            return
        for fd in [fd for fd in table.of if a <= fd <= b]:
            if c & _CLOSE_RANGE_CLOEXEC:
                table.cloexec.add(fd)
            else:
                self.close(at, table.drop(fd))

    def leave(self, at: At, table: Table, what: str, tid: int, value: int) -> None:
        """Take the end of a call, with the value that it returned."""
        entered = self.entered.pop(tid, None)
        if what == "make" and value < ERROR:
            self.made(at, table, value, OTHER, True)
        if entered is None or entered.what != what:
            return
        a, b, c, *_ = entered.args
        error = (1 << 64) - value if value >= ERROR else 0
        if what in FILE_CALLS:
            began = self.calls.call(at, table, what, entered, value, error)
            if began is not None:
                fd, opened, cloexec = began
                self.made(at, table, fd, opened, cloexec)
        elif error:
            return
        elif what == "pipe":
            for end in range(2):
                self.close(at, table.put(table.lowest(), (self.pipes, end), bool(a & O_CLOEXEC)))
            self.calls.add((entered.row, *at[1:3], entered.time), rec.PIPE, info=self.pipes)
            self.pipes += 1
        elif what == "dup":
            self.close(at, table.put(value, table.of.get(a, OTHER), bool(b & O_CLOEXEC)))
        elif what == "fcntl" and b in (_F_DUPFD, _F_DUPFD_CLOEXEC):
            self.close(at, table.put(value, table.of.get(a, OTHER), b == _F_DUPFD_CLOEXEC))
        elif what == "fcntl" and b == _F_SETFD:
            (table.cloexec.add if c & 1 else table.cloexec.discard)(a)

    def take(self, table: pl.DataFrame) -> None:
        """Follow all records."""
        columns = (
            "row",
            "process",
            "thread",
            "time",
            "tid",
            "what",
            "a",
            "b",
            "c",
            "d",
            "e",
            "name",
            "other",
        )
        names = self.calls.names
        for row, process, thread, time, tid, what, a, b, c, d, e, name, child in table.select(
            columns
        ).iter_rows():
            own = self.tables.get(process)
            if own is None:
                own = self.tables[process] = self.first.copy()
            at = (row, process, thread, time)
            if what == "name":
                if a is not None and name is not None:
                    names.seen(tid, a, name, time)
            elif what == "fork":
                if child is not None and child != process:
                    self.tables[child] = own.copy()
            elif what == "exec":
                names.forget(tid)
                for fd in sorted(own.cloexec):
                    self.close(at, own.drop(fd))
            elif what == "exit":
                if self.ends.get(process) == row:
                    for fd in sorted(own.of):
                        self.close(at, (thing for thing in own.drop(fd) if isinstance(thing, OpenFile)))
            elif what.startswith("enter_"):
                entered = _Entered(what[6:], row, time, time, (a or 0, b or 0, c or 0, d or 0, e or 0))
                call = FILE_CALLS.get(entered.what)
                if call is not None and call.names:
                    for _, place in call.names:
                        found, since = names.take(tid, entered.args[place])
                        entered.names.append(found)
                        entered.since = min(entered.since, since or time)
                self.entered[tid] = entered
            elif what.startswith("exit_"):
                self.leave(at, own, what[5:], tid, a)
            elif what.startswith("close"):
                self.begin(at, own, what, a, b or 0, c or 0)


def follow(raw: pl.DataFrame, first: Iterable[int], directory: str | None, files: bool) -> Followed:
    """Return the rows of pipes, and with `files` those of files, out of raw records with `process` and `other`.

    `first` are the descriptors, and `directory` the current directory, of a process whose beginning was not seen.
    """
    table = raw.filter(pl.col("what").is_in(NEEDED)).sort("row", maintain_order=True)
    exits = table.filter(pl.col("what") == "exit").group_by("process").agg(pl.col("row").max())
    follower = _Follower(Table(dict.fromkeys(first, OTHER), directory=directory), dict(exits.iter_rows()))
    if table["what"].is_in(["exit_pipe"]).any() or files:
        follower.take(table)
    return Followed(*follower.calls.result(files))
