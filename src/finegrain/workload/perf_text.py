"""Reads what `perf script` prints into one table of raw records.

The text is taken in pieces of whole lines and taken apart by column expressions, because a build gives
millions of lines. A raw record has a time (ns, perf's clock), the pid and tid it is about, what it is
(`WHAT`), up to five numbers `a` to `e`, and a name:

| what | numbers | name |
|---|---|---|
| fault_user, fault_kernel | address, x86 page fault error code | |
| fault | address | |
| map | start, bytes, file offset in bytes | protection as `rwxp`, a space, the mapped file |
| enter_mmap | address asked, bytes, PROT_*, MAP_*, file offset in bytes | |
| exit_mmap, exit_brk, exit_mremap, wait | value returned | |
| munmap | start, bytes | |
| mprotect | start, bytes, PROT_* | |
| enter_mremap | start, old bytes, new bytes | |
| fork | child's pid, child's tid | |
| setpgid | pid, process group; 0 is one's own | |
| kill | pid, signal; a process group is a negative pid, or 0 one's own | |
| newtask | child's tid, clone flags | |
| lost | how many records | |
| enter_pipe, enter_open | O_* flags | |
| exit_pipe, exit_open, exit_dup, exit_fcntl, exit_read, exit_write | value returned | |
| enter_read, enter_write, close | descriptor | |
| close_range | first and last descriptor, flags | |
| enter_dup | descriptor, O_* flags | |
| enter_fcntl | descriptor, command, argument | |
| exec, exit, enter, enter_brk, setsid, out, preempted, in | | |

`open` is any call that makes a descriptor of something that is no pipe; readv is `read`, writev `write`.
"""

from collections.abc import Iterator
from typing import IO

import polars as pl

CHUNK_BYTES = 32 << 20

_NUMBERS = ["a", "b", "c", "d", "e"]
RAW_SCHEMA: dict[str, pl.DataType] = {
    "time": pl.Int64(),
    "pid": pl.Int64(),
    "tid": pl.Int64(),
    "what": pl.String(),
    **dict.fromkeys(_NUMBERS, pl.UInt64()),
    "name": pl.String(),
}

_HEADER = r"^\s*(?P<pid>\d+)/(?P<tid>\d+)\s+(?P<s>\d+)\.(?P<ns>\d{9}):\s+(?P<event>[^\s(]+)\s*(?P<rest>.*)$"
_HEX = r"(?:0x)?([0-9a-f]+)"

# event as printed -> what, regular expression of its numbers (all hexadecimal)
_HEX_EVENTS = {
    "exceptions:page_fault_user:": ("fault_user", rf"address={_HEX} .*error_code={_HEX}"),
    "exceptions:page_fault_kernel:": ("fault_kernel", rf"address={_HEX} .*error_code={_HEX}"),
    "page-faults:": ("fault", rf"^{_HEX}"),
    "page-faults:u:": ("fault", rf"^{_HEX}"),
    "syscalls:sys_enter_mmap:": (
        "enter_mmap",
        rf"addr: {_HEX}, len: {_HEX}, prot: {_HEX}, flags: {_HEX}, fd: \S+ off: {_HEX}",
    ),
    "syscalls:sys_exit_mmap:": ("exit_mmap", _HEX),
    "syscalls:sys_enter_munmap:": ("munmap", rf"addr: {_HEX}, len: {_HEX}"),
    "syscalls:sys_enter_mprotect:": ("mprotect", rf"start: {_HEX}, len: {_HEX}, prot: {_HEX}"),
    "syscalls:sys_enter_brk:": ("enter_brk", None),
    "syscalls:sys_exit_brk:": ("exit_brk", _HEX),
    "syscalls:sys_enter_mremap:": ("enter_mremap", rf"addr: {_HEX}, old_len: {_HEX}, new_len: {_HEX}"),
    "syscalls:sys_exit_mremap:": ("exit_mremap", _HEX),
    "syscalls:sys_exit_wait4:": ("wait", _HEX),
    "syscalls:sys_enter_setpgid:": ("setpgid", rf"pid: {_HEX}, pgid: {_HEX}"),
    "syscalls:sys_enter_setsid:": ("setsid", None),
    "syscalls:sys_enter_kill:": ("kill", rf"pid: {_HEX}, sig: {_HEX}"),
    "syscalls:sys_enter_execve:": ("enter", None),
    "syscalls:sys_enter_execveat:": ("enter", None),
    "syscalls:sys_enter_fork:": ("enter", None),
    "syscalls:sys_enter_vfork:": ("enter", None),
    "syscalls:sys_enter_clone:": ("enter", None),
    "syscalls:sys_enter_clone3:": ("enter", None),
    "syscalls:sys_enter_exit_group:": ("enter", None),
}
_MADE = ("open", "openat", "openat2", "creat", "socket", "memfd_create", "epoll_create1", "eventfd2")
_MADE_RARELY = ("timerfd_create", "signalfd4", "pidfd_open")
_HEX_EVENTS |= {
    **{f"syscalls:sys_exit_{call}:": ("exit_open", _HEX) for call in _MADE + _MADE_RARELY},
    **{f"syscalls:sys_enter_{call}:": ("enter_open", rf"flags: {_HEX}") for call in ("open", "openat")},
    **{f"syscalls:sys_exit_{call}:": ("exit_dup", _HEX) for call in ("dup", "dup2", "dup3")},
    "syscalls:sys_enter_dup:": ("enter_dup", rf"fildes: {_HEX}"),
    "syscalls:sys_enter_dup2:": ("enter_dup", rf"oldfd: {_HEX}"),
    "syscalls:sys_enter_dup3:": ("enter_dup", rf"oldfd: {_HEX}.*flags: {_HEX}"),
    "syscalls:sys_enter_pipe:": ("enter_pipe", None),
    "syscalls:sys_exit_pipe:": ("exit_pipe", _HEX),
    "syscalls:sys_enter_pipe2:": ("enter_pipe", rf"flags: {_HEX}"),
    "syscalls:sys_exit_pipe2:": ("exit_pipe", _HEX),
    **{f"syscalls:sys_enter_{call}:": ("enter_read", rf"fd: {_HEX}") for call in ("read", "readv")},
    **{f"syscalls:sys_exit_{call}:": ("exit_read", _HEX) for call in ("read", "readv")},
    **{f"syscalls:sys_enter_{call}:": ("enter_write", rf"fd: {_HEX}") for call in ("write", "writev")},
    **{f"syscalls:sys_exit_{call}:": ("exit_write", _HEX) for call in ("write", "writev")},
    "syscalls:sys_enter_close:": ("close", rf"fd: {_HEX}"),
    "syscalls:sys_enter_close_range:": ("close_range", rf"fd: {_HEX}, max_fd: {_HEX}, flags: {_HEX}"),
    "syscalls:sys_enter_fcntl:": ("enter_fcntl", rf"fd: {_HEX}, cmd: {_HEX}, arg: {_HEX}"),
    "syscalls:sys_exit_fcntl:": ("exit_fcntl", _HEX),
}
_MAP = rf"\[{_HEX}\({_HEX}\) @ {_HEX} .*?\]: ([r-][w-][x-][ps] .*)$"
_TASKS = r"^\((-?\d+):(-?\d+)\):\((-?\d+):(-?\d+)\)"


def _pieces(lines: IO[bytes]) -> Iterator[bytes]:
    """Yield the text in pieces of whole lines."""
    rest = b""
    while block := lines.read(CHUNK_BYTES):
        whole, newline, tail = block.rpartition(b"\n")
        if newline:
            yield rest + whole
            rest = tail
        else:
            rest += block
    if rest:
        yield rest


def _numbers(pattern: str, base: int) -> list[pl.Expr]:
    """Return expressions for the numbers that `pattern` finds in `rest`, as columns a, b, ..."""
    count = pattern.count("(") - pattern.count("(?:") - pattern.count(r"\(")
    return [
        pl.col("rest").str.extract(pattern, i + 1).str.to_integer(base=base, dtype=pl.UInt64, strict=False)
        .alias(_NUMBERS[i])
        for i in range(count)
    ]  # fmt: skip


def _piece(text: bytes) -> pl.DataFrame:
    """Read one piece; lines that are none of ours are left out."""
    lines = pl.Series("line", text.decode("utf-8", "replace").split("\n"))
    table = (
        lines.to_frame()
        .select(pl.col("line").str.extract_groups(_HEADER).alias("part"))
        .unnest("part")
        .with_row_index("row")
        .with_columns(
            pl.col("pid", "tid").cast(pl.Int64),
            time=pl.col("s").cast(pl.Int64) * 1_000_000_000 + pl.col("ns").cast(pl.Int64),
        )
        .drop("s", "ns")
    )
    parts = []

    def add(rows: pl.DataFrame, what: str | pl.Expr, *columns: pl.Expr) -> None:
        if len(rows):
            named = pl.lit(what) if isinstance(what, str) else what
            parts.append(rows.with_columns(named.alias("what"), *columns))

    for (event,), rows in table.group_by("event", maintain_order=True):
        if event in _HEX_EVENTS:
            what, pattern = _HEX_EVENTS[str(event)]
            add(rows, what, *(_numbers(pattern, 16) if pattern else []))
        elif event == "PERF_RECORD_MMAP2":
            start, length, offset = _numbers(_MAP.replace("([r-]", "(?:[r-]"), 16)
            add(rows, "map", start, length, offset, pl.col("rest").str.extract(_MAP, 4).alias("name"))
        elif event == "PERF_RECORD_COMM":
            add(rows.filter(pl.col("rest").str.starts_with("exec:")), "exec")
        elif event in ("PERF_RECORD_FORK", "PERF_RECORD_EXIT"):
            task = [pl.col("rest").str.extract(_TASKS, i).cast(pl.Int64) for i in (1, 2, 3, 4)]
            if event == "PERF_RECORD_FORK":
                numbers = [task[0].cast(pl.UInt64).alias("a"), task[1].cast(pl.UInt64).alias("b")]
                add(rows, "fork", *numbers, task[2].alias("pid"), task[3].alias("tid"))
            else:
                add(rows, "exit", task[0].alias("pid"), task[1].alias("tid"))
        elif event == "PERF_RECORD_SWITCH":
            off = pl.when(pl.col("rest").str.contains("preempt")).then(pl.lit("preempted"))
            add(
                rows,
                pl.when(pl.col("rest").str.starts_with("IN"))
                .then(pl.lit("in"))
                .otherwise(off.otherwise(pl.lit("out"))),
            )
        elif event == "task:task_newtask:":
            child = pl.col("rest").str.extract(r"pid=(\d+)").cast(pl.UInt64).alias("a")
            flags = pl.col("rest").str.extract(r"clone_flags=(?:0x)?([0-9a-f]+)")
            add(rows, "newtask", child, flags.str.to_integer(base=16, dtype=pl.UInt64).alias("b"))
        elif event in ("PERF_RECORD_LOST", "PERF_RECORD_LOST_SAMPLES"):
            lost = pl.col("rest").str.extract(r"(\d+)\s*$").cast(pl.UInt64)
            add(rows, "lost", lost.alias("a"))
    empty = pl.DataFrame(schema={"row": pl.UInt32, **RAW_SCHEMA})
    shaped = pl.concat([empty, *parts], how="diagonal_relaxed").sort("row")
    return shaped.select(list(RAW_SCHEMA)).cast(RAW_SCHEMA)  # type: ignore[arg-type]


def parse(lines: IO[bytes]) -> pl.DataFrame:
    """Read all that `perf script -F pid,tid,time,event,...` printed, in perf's order of time."""
    pieces = [_piece(text) for text in _pieces(lines)]
    table = pl.concat(pieces) if pieces else pl.DataFrame(schema=RAW_SCHEMA)
    return table.filter((pl.col("pid") > 0) & pl.col("time").is_not_null())
