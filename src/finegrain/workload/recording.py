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
| FORK | | 1 if the address space is shared (vfork) | | child's process index | |
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

PIPE gives the process both ends of a new pipe; a fork gives a child those that its parent has. READ and WRITE stand
at the end of the call; READ of 0 bytes is the end of file. CLOSE says that the process gave its last descriptor of
that end up, by close, dup2 or exec; EXIT gives up the rest.

KERNEL says that the thread entered the kernel for long (fork, exec, exit): time from there to its next row
is not user time. OFF and ON say when a thread left its CPU and came back. Pages are of `page_size` bytes.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

import polars as pl

from finegrain.errors import UserError
from finegrain.files import written_whole

SCHEMA = "finegrain.recording/2"
OLD_SCHEMAS = ("finegrain.recording/1",)  # without pipes
SUFFIX = ".fgrec"
METADATA_KEY = "finegrain"
# Times are kept in units of 100 ns, well below what recording one event costs (about 2 us).
TIME_UNIT_NS = 100

FAULT, MAP, UNMAP, PROTECT, BREAK, MOVE, FORK, EXEC, EXIT, WAIT, KERNEL, OFF, ON = range(1, 14)
SETPGID, SETSID, KILLPG = range(14, 17)
PIPE, READ, WRITE, CLOSE = range(17, 21)

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
}
_STORED = {"after" if name == "time" else name: dtype for name, dtype in COLUMNS.items()}
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
    name: str = ""  # how it was opened; not stored


_META: dict[str, Any] = {
    f.name: get_origin(f.type) or f.type for f in fields(Recording) if f.name not in ("events", "name")
}


def save(recording: Recording, path: Path) -> None:
    """Write `recording` to `path`, whole or not at all; UserError when that cannot be done."""
    unit = pl.col("time") // TIME_UNIT_NS
    stored = recording.events.select(
        *(
            (unit - unit.shift(1).over("process").fill_null(0)).alias("after") if name == "time" else name
            for name in COLUMNS
        )
    )
    meta = {key: value for key, value in asdict(recording).items() if key in _META}
    meta = {"schema": SCHEMA, "events": len(stored), **meta}
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
    damaged = UserError(f"recording {name} is damaged; copy it again or record again")
    try:
        stored = pl.read_parquet(path)
    except (*_PARQUET_ERRORS, OSError):
        raise damaged from None
    if (
        list(stored.schema.items()) != list(_STORED.items())
        or len(stored) != meta.get("events")
        or any(not isinstance(meta.get(key), types) for key, types in _META.items())
        or stored.null_count().sum_horizontal().sum() > 0
        or not (stored["after"] >= 0).all()
    ):
        raise damaged
    time = pl.col("after").cum_sum().over("process") * TIME_UNIT_NS
    events = stored.with_columns(time.alias("time")).select(list(COLUMNS))
    if not _sound(events, meta["processes"], len(meta["files"])):
        raise damaged
    return Recording(events=events, name=name, **{key: meta[key] for key in _META})


def _sound(events: pl.DataFrame, processes: int, files: int) -> bool:
    """Say whether rows are in order, and refer only to files and processes that there are."""
    if not len(events):
        return False
    process = events["process"]
    other = events.filter(pl.col("kind").is_in([FORK, WAIT, SETPGID, KILLPG]))["info"]
    leader = events.filter(pl.col("kind") == SETPGID)["offset"]
    made = events.filter(pl.col("kind") == PIPE)["info"]
    used = events.filter(pl.col("kind").is_in([READ, WRITE, CLOSE]))
    return bool(
        process.is_sorted()
        and process[-1] < processes
        and events["kind"].is_between(FAULT, CLOSE).all()
        and (made.sort() == pl.Series(range(len(made)), dtype=pl.UInt32)).all()
        and (used["info"] < len(made)).all()
        and (used.filter(pl.col("kind") == CLOSE)["pages"] <= 1).all()
        and (events["file"] <= files).all()
        and (other < processes).all()
        and (leader < processes).all()
    )


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
