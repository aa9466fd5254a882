"""Follows every process's descriptors through the raw records, to find out which are ends of pipes.

The tracepoint of pipe does not say which descriptors it made. They are the two lowest free ones, so the table of each
process is followed: whatever makes, copies or closes a descriptor, fork and exec. Where a call returns another number
than the table has free, the table is put right: what lies below is in use by something unknown.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl

from finegrain.workload import recording as rec

# raw records that this needs
NEEDED = [
    "enter_pipe", "exit_pipe", "enter_read", "exit_read", "enter_write", "exit_write", "close", "close_range",
    "enter_dup", "exit_dup", "enter_fcntl", "exit_fcntl", "enter_open", "exit_open", "fork", "exec",
]  # fmt: skip
SCHEMA = {
    "row": pl.UInt32,
    "process": pl.UInt32,
    "thread": pl.UInt32,
    "time": pl.Int64,
    "kind": pl.UInt8,
    "pages": pl.UInt64,
    "offset": pl.UInt64,
    "info": pl.UInt32,
}
_ERROR = (1 << 64) - 4095
_O_CLOEXEC = 0x80000  # linux/fcntl.h, x86-64 and aarch64
_F_DUPFD, _F_SETFD, _F_DUPFD_CLOEXEC = 0, 2, 1030
_CLOSE_RANGE_CLOEXEC = 4
_OTHER = (-1, 0)  # a descriptor of something that is no pipe


@dataclass
class _Table:
    """The descriptors of a process: what each is (pipe and end, or _OTHER), and which exec closes."""

    of: dict[int, tuple[int, int]]
    cloexec: set[int] = field(default_factory=set)

    def copy(self) -> "_Table":
        return _Table(dict(self.of), set(self.cloexec))

    def lowest(self) -> int:
        fd = 0
        while fd in self.of:
            fd += 1
        return fd

    def put(self, fd: int, what: tuple[int, int], cloexec: bool) -> Iterator[tuple[int, int]]:
        """Make fd a descriptor of `what`; yield the end of a pipe that was its last before."""
        before = self.of.get(fd)
        if before != what:
            yield from self.drop(fd)
        self.of[fd] = what
        (self.cloexec.add if cloexec else self.cloexec.discard)(fd)

    def drop(self, fd: int) -> Iterator[tuple[int, int]]:
        """Close fd; yield the end of a pipe of which it was the last."""
        what = self.of.pop(fd, _OTHER)
        self.cloexec.discard(fd)
        if what != _OTHER and what not in self.of.values():
            yield what


class _Follower:
    """Takes the records in order of time, and makes rows."""

    def __init__(self, first: _Table) -> None:
        self.first = first
        self.tables: dict[int, _Table] = {}
        self.entered: dict[int, tuple[str, int, int, int, int, int]] = {}  # by tid: what, row, time, a, b, c
        self.rows: list[tuple[int, int, int, int, int, int, int, int]] = []
        self.pipes = 0

    def close(self, at: tuple[int, int, int, int], ends: Iterator[tuple[int, int]]) -> None:
        for pipe, end in ends:
            self.rows.append((*at, rec.CLOSE, end, 0, pipe))

    def made(self, at: tuple[int, int, int, int], table: _Table, fd: int, cloexec: bool) -> None:
        """A call has returned a new descriptor, the lowest that was free."""
        for below in range(fd):
            table.of.setdefault(below, _OTHER)
        self.close(at, table.put(fd, _OTHER, cloexec))

    def enter(self, at: tuple[int, int, int, int], table: _Table, what: str, a: int, b: int, c: int) -> None:
        """Take the beginning of a call that needs no end: close, close_range."""
        if what == "close":
            self.close(at, table.drop(a))
            return
        for fd in [fd for fd in table.of if a <= fd <= b]:
            if c & _CLOSE_RANGE_CLOEXEC:
                table.cloexec.add(fd)
            else:
                self.close(at, table.drop(fd))

    def leave(self, at: tuple[int, int, int, int], table: _Table, what: str, tid: int, value: int) -> None:
        """Take the end of a call, with the value that it returned."""
        entered = self.entered.pop(tid, None)
        call, row, began, a, b, c = entered or ("", 0, 0, 0, 0, 0)
        if value >= _ERROR:
            return
        if what == "open":
            self.made(at, table, value, call != "open" or bool(a & _O_CLOEXEC))
        elif call != what:
            return
        elif what == "pipe":
            for end in range(2):
                self.close(at, table.put(table.lowest(), (self.pipes, end), bool(a & _O_CLOEXEC)))
            self.rows.append((row, *at[1:3], began, rec.PIPE, 0, 0, self.pipes))
            self.pipes += 1
        elif what == "dup":
            self.close(at, table.put(value, table.of.get(a, _OTHER), bool(b & _O_CLOEXEC)))
        elif what == "fcntl" and b in (_F_DUPFD, _F_DUPFD_CLOEXEC):
            self.close(at, table.put(value, table.of.get(a, _OTHER), b == _F_DUPFD_CLOEXEC))
        elif what == "fcntl" and b == _F_SETFD:
            (table.cloexec.add if c & 1 else table.cloexec.discard)(a)
        elif what in ("read", "write"):
            pipe, end = table.of.get(a, _OTHER)
            if pipe >= 0 and end == (what == "write") and (value or what == "read"):
                kind = rec.READ if what == "read" else rec.WRITE
                self.rows.append((*at, kind, value, max(0, at[3] - began) // rec.TIME_UNIT_NS, pipe))

    def take(self, table: pl.DataFrame) -> None:
        """Follow all records."""
        columns = ("row", "process", "thread", "time", "tid", "what", "a", "b", "c", "other")
        for row, process, thread, time, tid, what, a, b, c, child in table.select(columns).iter_rows():
            own = self.tables.setdefault(process, self.first.copy())
            at = (row, process, thread, time)
            if what == "fork":
                if child is not None and child != process:
                    self.tables[child] = own.copy()
            elif what == "exec":
                for fd in sorted(own.cloexec):
                    self.close(at, own.drop(fd))
            elif what.startswith("enter_"):
                self.entered[tid] = (what[6:], row, time, a or 0, b or 0, c or 0)
            elif what.startswith("exit_"):
                self.leave(at, own, what[5:], tid, a)
            elif what.startswith("close"):
                self.enter(at, own, what, a, b or 0, c or 0)


def pipe_rows(raw: pl.DataFrame, first: Iterable[int]) -> pl.DataFrame:
    """Return PIPE, READ, WRITE and CLOSE rows (SCHEMA) out of raw records with `process` and `other`, in order.

    `first` are the descriptors of a process whose beginning was not seen.
    """
    follower = _Follower(_Table(dict.fromkeys(first, _OTHER)))
    if raw["what"].is_in(["exit_pipe"]).any():
        follower.take(raw.filter(pl.col("what").is_in(NEEDED)).sort("row"))
    return pl.DataFrame(follower.rows, schema=SCHEMA, orient="row")
