"""A recording: what every process of a real build did to memory and when, in one Parquet file.

The rows are sorted by process (in order of creation) and then by time. Which columns a row uses depends
on its kind; the others are zero:

| kind | page | pages | offset | info | file |
|---|---|---|---|---|---|
| FAULT | page touched | | | FAULT_* bits | |
| MAP | first page | length | file page of the first page | PROT_* and MAP_* bits | file index + 1 |
| UNMAP | first page | length | | | |
| PROTECT | first page | length | | PROT_* bits | |
| BREAK | end of the heap | | | | |
| MOVE | new first page | new length | old first page | old length | |
| FORK | | 1 if the address space is shared (vfork) | clone flags | child's process index | |
| EXEC, EXIT | | | | | |
| WAIT | | | | process index of the child that was reaped | |
| KERNEL | | | | | |
| SETPGID | | | process index of the group's leader | process index | |
| SETSID | | | | | |
| KILLPG | | | | process index of the group's leader, or one's own for one's own group | |
| PIPE | | | | pipe's index, in order of creation | |
| READ, WRITE | | bytes | duration of the call, in units of 100 ns | pipe's index | |
| CLOSE | | 0: the read end, 1: the write end | | pipe's index | |
| OFF | | | | 1 if preempted, 0 if it gave the CPU up | |
| ON | | | | | |
| THREAD | | | clone flags | index of a new thread, in the same address space | |
| THREAD_EXIT | | | | | |

Rows of file calls use the columns `path`, `path2` and `error` too, which others leave zero: an index + 1 into `paths`
(0: not known), another, and Linux's number of the error with which the call failed (0: it did not). `offset` is the
duration of the call, in units of 100 ns; the row stands at the call's end, but FILE_EXEC's at its beginning.

| kind | path, path2 | page | pages | info |
|---|---|---|---|---|
| FILE_OPEN | file | | | Linux's O_* flags |
| FILE_CLOSE | file; its last descriptor in any process is gone | | | |
| FILE_READ, FILE_WRITE | file | offset in the file, bytes | bytes | |
| FILE_STAT, FILE_ACCESS, FILE_READLINK | file | | | |
| FILE_FSTAT | file, by a descriptor: without a lookup | | | |
| FILE_UNLINK, FILE_RMDIR, FILE_MKDIR | file or directory | | | |
| FILE_RENAME | old, new | | | |
| FILE_LINK | old, new | | | |
| FILE_SYMLINK | new link, what it points to | | | |
| FILE_TRUNCATE | file | | new bytes | |
| FILE_GETDENTS | directory | | bytes | |
| FILE_CHDIR | directory | | | 1 by a descriptor |
| FILE_SETATTR | file (mode, owner, times) | | | 1 by a descriptor |
| FILE_EXEC | program to execute | | | |

`paths` are absolute and normalised: a path's directory is in the list too, before it, and none is there twice. They are
as the program gave them, symbolic links not resolved. A FILE_READ's offset after appending is as far as was seen.

PIPE gives the process both ends of a new pipe; a fork gives a child those that its parent has. READ and WRITE stand
at the end of the call; READ of 0 bytes is the end of file. CLOSE says that the process gave its last descriptor of
that end up, by close, dup2 or exec; EXIT gives up the rest.

KERNEL says that the thread entered the kernel for long (fork, exec, exit): time from there to its next row
is not user time. OFF and ON say when a thread left its CPU and came back. Pages are of `page_size` bytes.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

import polars as pl

from finegrain.errors import UserError
from finegrain.files import written_whole

SCHEMA = "finegrain.recording/3"
# what recordings of older formats lack (see LACKS)
OLD_SCHEMAS = {
    "finegrain.recording/1": ["pipes", "file calls", "threads"],
    "finegrain.recording/2": ["file calls", "threads"],
}
LACKS = ("pipes", "file calls", "threads")  # what a recording may not tell of
SUFFIX = ".fgrec"
METADATA_KEY = "finegrain"
# Times are kept in units of 100 ns, well below what recording one event costs (about 2 us).
TIME_UNIT_NS = 100

FAULT, MAP, UNMAP, PROTECT, BREAK, MOVE, FORK, EXEC, EXIT, WAIT, KERNEL, OFF, ON = range(1, 14)
SETPGID, SETSID, KILLPG = range(14, 17)
PIPE, READ, WRITE, CLOSE = range(17, 21)
THREAD, THREAD_EXIT = range(21, 23)
FILE_OPEN, FILE_CLOSE, FILE_READ, FILE_WRITE, FILE_STAT, FILE_FSTAT, FILE_ACCESS, FILE_READLINK = range(
    23, 31
)
FILE_UNLINK, FILE_RMDIR, FILE_RENAME, FILE_MKDIR, FILE_SYMLINK, FILE_LINK, FILE_TRUNCATE = range(31, 38)
FILE_GETDENTS, FILE_CHDIR, FILE_SETATTR, FILE_EXEC = range(38, 42)
LOOKUPS = [
    FILE_OPEN, FILE_STAT, FILE_ACCESS, FILE_READLINK, FILE_UNLINK, FILE_RMDIR, FILE_RENAME, FILE_MKDIR, FILE_SYMLINK,
    FILE_LINK, FILE_EXEC,
]  # fmt: skip
# rows that stand at the end of what took their `offset`
TIMED = [READ, WRITE, *range(FILE_OPEN, FILE_EXEC)]

FAULT_WRITE, FAULT_EXEC = 1, 2  # neither: read
FAULT_PRESENT = 4  # the page was mapped and the protection stopped the access: copy-on-write, mostly
FAULT_IN_KERNEL = 8  # the kernel touched a user page
FAULT_UNKNOWN = 16  # the recording does not say how the page was touched (kind "software")

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_STACK, MAP_EXEC = 8, 16, 32  # MAP_EXEC: mapped by exec itself

# the columns in memory; in the file, `after` (time since the process's previous row) stands for `time`
COLUMNS: dict[str, pl.DataType] = {
    "process": pl.UInt32(),
    "thread": pl.UInt32(),  # 0 is the first thread of the process
    "time": pl.Int64(),  # ns since the recording began, a multiple of TIME_UNIT_NS
    "kind": pl.UInt8(),
    "page": pl.UInt64(),
    "pages": pl.UInt64(),
    "offset": pl.UInt64(),
    "info": pl.UInt32(),
    "file": pl.UInt32(),
    "path": pl.UInt32(),
    "path2": pl.UInt32(),
    "error": pl.UInt16(),
}
# In the file, rows of kind PATH come first, one for each path: `path` is the index + 1 of its directory, `name` its
# last component. The root, which has neither, is the first.
PATH = 0
_STORED = {"after" if name == "time" else name: dtype for name, dtype in COLUMNS.items()} | {
    "name": pl.String()
}
_NEW = ("path", "path2", "error", "name")  # of format 3
_ROWS = 1 << 26  # about 4 GB in memory
_AFTER = 1 << 45  # in units of 100 ns: 40 days
_PATH_CHARACTERS = 1 << 16
# a damaged file can also make the Parquet reader panic
_PARQUET_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True)
class Recording:
    """What one run of a command did; `events` is described at the top of this module."""

    kind: str  # "tracepoints" or "software"
    command: list[str]
    status: int  # exit status of the command
    events: pl.DataFrame = field(repr=False)
    processes: int
    files: list[str] = field(repr=False)  # names of mapped files; [vdso] and the like are among them
    duration_ns: int
    lost: int = 0  # records that perf had to drop
    page_size: int = 4096
    cpus: int = 0  # of the machine that recorded
    fixed_addresses: bool = False  # address space randomisation was off
    perf: str = ""  # version
    date: str = ""
    paths: list[str] = field(default_factory=list, repr=False)  # that file calls name
    lacks: list[str] = field(default_factory=list)  # of LACKS: what it does not tell of
    name: str = ""  # how it was opened; not stored
    checked: bool = True  # its checksum was right; False: it has none, as older ones have not; not stored


_META: dict[str, Any] = {
    f.name: get_origin(f.type) or f.type
    for f in fields(Recording)
    if f.name not in ("events", "paths", "name", "checked")
}


def _path_rows(paths: list[str]) -> pl.DataFrame:
    """Return the rows of kind PATH for `paths`."""
    number = {path: i for i, path in enumerate(paths, 1)}
    cut = [path.rpartition("/") for path in paths]
    return pl.DataFrame(
        {
            "kind": [PATH] * len(paths),
            "path": [number.get(parent or "/", 0) if last else 0 for parent, _, last in cut],
            "name": [last for _, _, last in cut],
        },
        schema={"kind": pl.UInt8(), "path": pl.UInt32(), "name": pl.String()},
    ).select(
        pl.col(name) if name in ("kind", "path", "name") else pl.lit(0, dtype).alias(name)
        for name, dtype in _STORED.items()
    )


def _paths(rows: pl.DataFrame) -> list[str] | None:
    """Return the paths that rows of kind PATH stand for; None when they are none."""
    paths: list[str] = []
    for i, (parent, name) in enumerate(rows.select("path", "name").iter_rows()):
        root = i == 0 and parent == 0 and name == ""
        if not root and (not 0 < parent <= i or name in ("", ".", "..") or "/" in name or "\0" in name):
            return None
        paths.append("/" if root else f"{paths[parent - 1].rstrip('/')}/{name}")
        if len(paths[-1]) > _PATH_CHARACTERS:
            return None
    return paths if len(set(paths)) == len(paths) else None


def _checksum(meta: Mapping[str, Any], stored: pl.DataFrame) -> str:
    """Return the checksum of all that a file says."""
    total = hashlib.sha256(json.dumps({**meta, "checksum": ""}, sort_keys=True).encode())
    for name, dtype in _STORED.items():
        if dtype == pl.String():
            total.update("\0".join(stored[name].filter(stored[name] != "")).encode())
        else:
            total.update(stored[name].to_numpy().tobytes())
    return total.hexdigest()


def save(recording: Recording, path: Path) -> None:
    """Write `recording` to `path`, whole or not at all; UserError when that cannot be done."""
    unit = pl.col("time") // TIME_UNIT_NS
    stored = recording.events.select(
        *(
            (unit - unit.shift(1).over("process").fill_null(0)).alias("after") if name == "time" else name
            for name in COLUMNS
        ),
        pl.lit("").alias("name"),
    )
    meta = {"schema": SCHEMA, "events": len(stored), **{key: getattr(recording, key) for key in _META}}
    stored = pl.concat([_path_rows(recording.paths), stored])
    meta["checksum"] = _checksum(meta, stored)
    with written_whole(path) as beside:
        stored.write_parquet(
            beside,
            compression="zstd",
            compression_level=19,
            statistics=False,
            row_group_size=max(len(stored), 1),
            metadata={METADATA_KEY: json.dumps(meta)},
        )


def _metadata(path: Path, name: str) -> dict[str, Any]:
    """Return the checked metadata of the recording at `path`."""
    again = "; make one with 'finegrain record'"
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"cannot read recording {name}: it is not a regular file")
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(0, os.SEEK_END)
            size = file.tell()
            file.seek(max(size - 4, 0))
            tail = file.read(4)
    except OSError as error:
        raise UserError(f"cannot read recording {name}: {error.strerror}") from None
    if head != b"PAR1":
        raise UserError(f"{name} is not a finegrain recording{again}")
    if size < 12 or tail != b"PAR1":
        raise UserError(f"recording {name} is truncated; copy it again or record again")
    try:
        meta = json.loads(pl.read_parquet_metadata(path).get(METADATA_KEY, "null"))
    except (*_PARQUET_ERRORS, OSError, ValueError):
        raise UserError(f"recording {name} is damaged; copy it again or record again") from None
    if not isinstance(meta, dict) or "schema" not in meta:
        raise UserError(f"{name} is a Parquet file but not a finegrain recording{again}")
    if meta["schema"] not in (SCHEMA, *OLD_SCHEMAS):
        raise UserError(
            f"recording {name} has format {meta['schema']}, this finegrain reads {SCHEMA}; record again"
        )
    return meta


def read(path: Path, name: str | None = None) -> Recording:
    """Read the recording at `path`, called `name` in messages; UserError when it is not a sound one."""
    name = name or str(path)
    meta = _metadata(path, name)

    def damaged(how: str) -> UserError:
        return UserError(f"recording {name} is damaged ({how}); copy it again or record again")

    lacks = OLD_SCHEMAS.get(meta["schema"])
    expected = {key: dtype for key, dtype in _STORED.items() if lacks is None or key not in _NEW}
    try:
        table = pl.scan_parquet(path)
        columns, count = list(table.collect_schema().items()), table.select(pl.len()).collect().item()
        if columns != list(expected.items()):
            raise damaged("other columns than a recording has")
        if count > _ROWS:
            raise UserError(f"recording {name} has {count:,} rows; this finegrain reads {_ROWS:,} at most")
        stored = pl.read_parquet(path)
    except (*_PARQUET_ERRORS, OSError):
        raise damaged("its data cannot be read") from None
    if stored.null_count().sum_horizontal().sum() > 0:
        raise damaged("values are missing")
    if lacks is not None:
        meta["lacks"] = lacks
        stored = stored.with_columns(
            pl.lit("" if dtype == pl.String() else 0, dtype).alias(key)
            for key, dtype in _STORED.items() if key in _NEW
        )  # fmt: skip
    elif meta.get("checksum") != _checksum(meta, stored):
        raise damaged("its checksum is wrong")
    how = _metadata_problem(meta)
    if how:
        raise damaged(how)
    of_paths = stored["kind"] == PATH
    paths = _paths(stored.filter(of_paths)) if of_paths[: int(of_paths.sum())].all() else None
    if paths is None:
        raise damaged("its paths are none")
    stored = stored.filter(~of_paths)
    if len(stored) != meta["events"] or not stored["after"].is_between(0, _AFTER).all():
        raise damaged("rows are missing, or their times are none")
    time = pl.col("after").cum_sum().over("process") * TIME_UNIT_NS
    events = stored.with_columns(time.alias("time")).select(list(COLUMNS))
    how = _events_problem(events, meta, len(paths))
    if how:
        raise damaged(how)
    values = {key: meta[key] for key in _META}
    return Recording(events=events, paths=paths, name=name, checked=lacks is None, **values)


def _strings(values: Any, count: int, characters: int) -> bool:
    """Say whether these are strings, so many and so long at most."""
    return (
        isinstance(values, list)
        and len(values) <= count
        and all(isinstance(value, str) and len(value) <= characters for value in values)
    )


def _metadata_problem(meta: Mapping[str, Any]) -> str:
    """Say what is wrong with the metadata; "" when nothing is."""
    for key, types in _META.items():
        value = meta.get(key)
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            return f"{key} is missing or no {types.__name__}"
    if meta["kind"] not in ("tracepoints", "software"):
        return "an unknown kind"
    if not _strings(meta["command"], 1 << 16, 1 << 17) or not _strings(
        meta["files"], 1 << 20, _PATH_CHARACTERS
    ):
        return "its lists of strings are none"
    if not _strings([meta["perf"], meta["date"]], 2, 200) or not _strings(meta["lacks"], len(LACKS), 20):
        return "its lists of strings are none"
    if not set(meta["lacks"]) <= set(LACKS):
        return "it lacks what no recording has"
    bounds = {
        "status": 256,
        "processes": 1 << 22,
        "cpus": 1 << 16,
        "lost": 1 << 48,
        "duration_ns": _AFTER * 100,
    }
    for key, bound in bounds.items():
        if not 0 <= meta[key] < bound:
            return f"{key} is {meta[key]}"
    if meta["page_size"] != 4096:
        return f"pages of {meta['page_size']} bytes"
    return ""


# by kind of row: which columns it may use, and below what their values are
_PAGES = 1 << 35  # of 4096 bytes in an address space of 2^47
_FILE_BYTES = 1 << 63
_TOOK = 1 << 45
_MEMORY = {
    FAULT: {"page": _PAGES, "info": 32},
    MAP: {"page": _PAGES, "pages": _PAGES, "offset": 1 << 52, "info": 64},
    UNMAP: {"page": _PAGES, "pages": _PAGES},
    PROTECT: {"page": _PAGES, "pages": _PAGES, "info": 8},
    BREAK: {"page": _PAGES},
    MOVE: {"page": _PAGES, "pages": _PAGES, "offset": _PAGES, "info": 1 << 32},
}
_LIMITS: dict[int, dict[str, int]] = {
    **_MEMORY,
    **{kind: {} for kind in (EXEC, EXIT, KERNEL, ON, SETSID, THREAD_EXIT)},
    FORK: {"pages": 2, "offset": 1 << 63, "info": 1 << 32},
    **{kind: {"info": 1 << 32} for kind in (WAIT, KILLPG, PIPE)},
    OFF: {"info": 2},
    SETPGID: {"offset": 1 << 32, "info": 1 << 32},
    **{kind: {"pages": 1 << 31, "offset": _TOOK, "info": 1 << 32} for kind in (READ, WRITE)},
    CLOSE: {"pages": 2, "info": 1 << 32},
    THREAD: {"offset": 1 << 63, "info": 1 << 22},
    **{kind: {"offset": _TOOK} for kind in range(FILE_OPEN, FILE_EXEC + 1)},
    FILE_OPEN: {"offset": _TOOK, "info": 1 << 32},
    **{kind: {"page": _FILE_BYTES, "pages": 1 << 31, "offset": _TOOK} for kind in (FILE_READ, FILE_WRITE)},
    FILE_TRUNCATE: {"pages": _FILE_BYTES, "offset": _TOOK},
    FILE_GETDENTS: {"pages": 1 << 31, "offset": _TOOK},
    **{kind: {"offset": _TOOK, "info": 2} for kind in (FILE_CHDIR, FILE_SETATTR)},
}
_THREADS = 1 << 22  # Linux's PID_MAX_LIMIT
_ERRORS = 4096  # Linux's MAX_ERRNO


def _limit(column: str) -> pl.Expr:
    """Return below what a row's `column` must be, by its kind; 1 where the kind has no use for it."""
    limits = [_LIMITS.get(kind, {}).get(column, 1) for kind in range(FILE_EXEC + 1)]
    return pl.lit(pl.Series(limits, dtype=pl.UInt64)).gather(pl.col("kind"))


def _events_problem(events: pl.DataFrame, meta: Mapping[str, Any], paths: int) -> str:
    """Say what is wrong with the rows: order, bounds, or what they refer to; "" when nothing is."""
    processes, files = meta["processes"], len(meta["files"])
    process, kind = events["process"], events["kind"]
    if not len(events) or not process.is_sorted() or not process[-1] < processes <= len(events) + 1:
        return "its processes are not those of its rows"
    if not kind.is_between(FAULT, FILE_EXEC).all():
        return "a kind of row that there is not"
    if events["time"].max() != meta["duration_ns"]:
        return "its duration is not that of its rows"
    for column in ("page", "pages", "offset", "info"):
        if not events.select((pl.col(column).cast(pl.UInt64) < _limit(column)).all()).item():
            return f"a value of {column} out of bounds"
    if not (events["thread"] < _THREADS).all() or not (events["error"] < _ERRORS).all():
        return "a thread or an error out of bounds"
    memory = events.filter(pl.col("kind").is_in(list(_MEMORY)))
    if not (memory["page"] + memory["pages"] <= _PAGES).all():
        return "an area beyond the address space"
    of_files = (kind >= FILE_OPEN).cast(pl.UInt32)
    if not (events["file"] <= (kind == MAP).cast(pl.UInt32) * files).all():
        return "a mapped file that there is not"
    if not ((events["path"] <= of_files * paths) & (events["path2"] <= of_files * paths)).all():
        return "a path that there is not"
    if not (events["error"] * (1 - of_files) == 0).all():
        return "an error of what is no file call"
    other = events.filter(pl.col("kind").is_in([FORK, WAIT, SETPGID, KILLPG]))["info"]
    leader = events.filter(pl.col("kind") == SETPGID)["offset"]
    born = events.filter(pl.col("kind") == FORK)
    if not (other < processes).all() or not (leader < processes).all():
        return "a process that there is not"
    if not (born["info"] > born["process"]).all() or born["info"].n_unique() != len(born):
        return "a process that is forked twice, or by itself or a later one"
    made = events.filter(pl.col("kind") == PIPE)["info"]
    used = events.filter(pl.col("kind").is_in([READ, WRITE, CLOSE]))["info"]
    if (
        not (made.sort() == pl.Series(range(len(made)), dtype=pl.UInt32)).all()
        or not (used < len(made)).all()
    ):
        return "a pipe that there is not"
    return ""


def bundled() -> dict[str, Path]:
    """Return the recordings that come with finegrain, by name."""
    folder = Path(__file__).parent / "recordings"
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def locate(name_or_path: str | Path) -> Path:
    """Find a bundled recording by its name, or any recording by its path; UserError when there is none."""
    here = bundled()
    name = str(name_or_path)
    if name in here:
        return here[name]
    if not Path(name).exists():
        known = ", ".join(here) or "none"
        raise UserError(f"no recording {name}: give a file, or the name of a bundled one ({known})")
    return Path(name)


def load(name_or_path: str | Path) -> Recording:
    """Read a bundled recording by its name, or any recording by its path; UserError when there is none."""
    return read(locate(name_or_path), str(name_or_path))
