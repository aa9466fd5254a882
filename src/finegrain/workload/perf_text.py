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
| exit_*, wait | value returned | |
| munmap | start, bytes | |
| mprotect | start, bytes, PROT_* | |
| enter_mremap | start, old bytes, new bytes | |
| fork | child's pid, child's tid | |
| setpgid | pid, process group; 0 is one's own | |
| kill | pid, signal; a process group is a negative pid, or 0 one's own | |
| newtask | child's tid, clone flags | |
| lost | how many records | |
| enter_pipe | O_* flags | |
| close | descriptor | |
| close_range | first and last descriptor, flags | |
| enter_dup | descriptor, O_* flags | |
| enter_fcntl | descriptor, command, argument | |
| other enter_* | the call's first five arguments | |
| name | address of a string that a call is about to be given | the string |
| exec, exit, enter, enter_brk, setsid, out, preempted, in | | |

Which system call becomes which of these, `syscalls.CALLS` says; `exit_make` is the end of any call that makes a
descriptor of what is neither file nor pipe.
"""

import re
from collections.abc import Iterator
from typing import IO

import polars as pl

from finegrain.workload.syscalls import CALLS

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
}
_ENTER, _EXIT = "raw_syscalls:sys_enter:", "raw_syscalls:sys_exit:"
_ENTERED = r"^NR (\d+) \(([^)]*)\)"
_RETURNED = r"^NR (\d+) = (-?\d+)"
# the probes of names (see probes.py): one name, or two
_PROBE = r"^finegrain_\d+_\d+:(one|two):$"
_ONE = rf'p0={_HEX} n0="(.*)"$'
_TWO = rf'p0={_HEX} p1={_HEX} n0="(.*)" n1="(.*)"$'
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


def _entries(rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Give the entries of system calls, and what each is called; those that are not kept are left out."""
    numbered = rows.with_columns(
        pl.col("rest").str.extract(_ENTERED, 1).cast(pl.Int64).alias("number"),
        pl.col("rest").str.extract(_ENTERED, 2).str.split(", ").alias("arguments"),
    )
    for (number,), part in numbered.group_by("number", maintain_order=True):
        call = CALLS.get(number)
        if call is not None and call.enter:
            argument = pl.col("arguments").list
            yield (
                call.enter,
                part.with_columns(
                    argument.get(arg, null_on_oob=True)
                    .str.to_integer(base=16, dtype=pl.UInt64, strict=False)
                    .alias(name)
                    for name, arg in zip(_NUMBERS, call.args, strict=False)
                ).drop("number", "arguments"),
            )


def _returns(rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Give the ends of system calls, and what each is called; those that are not kept are left out."""
    value = pl.col("rest").str.extract(_RETURNED, 2).cast(pl.Int64, strict=False)
    numbered = rows.with_columns(
        pl.col("rest").str.extract(_RETURNED, 1).cast(pl.Int64).alias("number"),
        value.reinterpret(signed=False).alias("a"),
    )
    for (number,), part in numbered.group_by("number", maintain_order=True):
        call = CALLS.get(number)
        if call is not None and call.exit:
            yield call.exit, part.drop("number")


def _names(rows: pl.DataFrame, probe: str) -> Iterator[pl.DataFrame]:
    """Give what a probe of one or of two names found."""
    pattern, count = (_TWO, 2) if probe == "two" else (_ONE, 1)
    for i in range(1, count + 1):
        pointer = pl.col("rest").str.extract(pattern, i)
        yield rows.with_columns(
            pointer.str.to_integer(base=16, dtype=pl.UInt64, strict=False).alias("a"),
            pl.col("rest").str.extract(pattern, count + i).alias("name"),
        )


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
            add(rows, what, *_numbers(pattern, 16))
        elif event in (_ENTER, _EXIT):
            for what, part in (_entries if event == _ENTER else _returns)(rows):
                add(part, what)
        elif (probe := re.match(_PROBE, str(event))) is not None:
            for part in _names(rows, probe[1]):
                add(part, "name")
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
