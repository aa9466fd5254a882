"""What a study measured: plain data that every report draws from.

Times are microseconds of simulated time, as LOCK_PROFILING prints them. `*_90min` is the figure scaled to the
90 minutes over which the real build was measured.
"""

from dataclasses import dataclass, field
from typing import Any

SCHEMA = "finegrain.compare/4"
SPAN_90MIN_S = 5400.0
PV_NAME = "pmap pv list"
"""The name of the PV list locks, whatever their class."""
PV_LIST = f"rw:{PV_NAME}"
"""Those of readers-writer locks, as head's are."""


@dataclass(frozen=True)
class Point:
    """One acquisition point of a lock."""

    site: str
    acquisitions: int
    contested: int
    trylock_failures: int
    wait_us: float
    wait_max_us: float
    wait_median_ns: int | None  # upper bound of the histogram bucket; None: no waits
    wait_p99_ns: int | None
    hold_us: float
    hold_max_us: float
    hold_median_ns: int | None
    hold_p99_ns: int | None
    spin_us: float
    block_us: float
    depth_mean: float  # threads already waiting, on average over contested acquisitions
    depth_max: int
    transfers: dict[str, int]  # where the lock's cache line came from at acquisition
    line_transfers: int  # how often getting, holding and releasing it had to wait for its line
    neighbour_transfers: int  # those that only other locks in the line were the cause of
    transfer_us: float
    neighbour_us: float
    wait_histogram_ns: list[list[int]]
    hold_histogram_ns: list[list[int]]


@dataclass(frozen=True)
class Lock:
    """One lock `class:name`: the sum over its acquisition points."""

    lock: str
    acquisitions: int
    contested: int
    wait_us: float
    hold_us: float
    wait_us_90min: float
    wait_us_90min_ci95: tuple[float, float] | None  # None: a single run has no interval
    spin_us: float
    block_us: float
    wait_max_us: float
    transfer_us_90min: float  # getting the lock's cache line, waiting or not
    neighbour_us_90min: float  # the part of it that only other locks in the line were the cause of
    wait_histogram_ns: list[list[int]]
    hold_histogram_ns: list[list[int]]
    held_by: list[tuple[str, float]]  # who held it while others waited: site, us
    held_by_points: list[tuple[str, str, float]]  # the same by waiter: holder's site, waiter's site, us
    points: list[Point] = field(default_factory=list)


@dataclass(frozen=True)
class Holding:
    """Pages of a superpage that one thing holds: a file, or `kind` of memory."""

    kind: str  # file, anonymous, or kernel: page tables and pv chunks
    file: str | None  # its name; None but for kind "file"
    copies: int  # how many copies of the file, each builder's its own, these pages are of; else 1
    pages: int


@dataclass(frozen=True)
class Superpage:
    """One superpage of physical memory and the PV list waiting on it."""

    superpage: int
    physical: tuple[int, int]  # first byte, byte after the last
    wait_us: float
    collision_us: float
    sharing_us: float
    contested: int
    holds: list[Holding]  # what its pages in use hold, most pages first


@dataclass(frozen=True)
class PVContent:
    """PV list waiting by what the superpage mostly holds, over the superpages in `pv_superpages`."""

    kind: str  # as in Holding; "free": nothing by the end of the run
    file: str | None
    superpages: int
    collision_us: float
    sharing_us: float


@dataclass(frozen=True)
class PVLock:
    """One PV list lock and the physical memory it covers."""

    index: int
    physical: tuple[int, int]  # first byte, byte after the last, of the first range that it covers
    period: int  # bytes from one range that it covers to the next; 0: it covers just the one
    wait_us: float
    hold_us: float
    acquisitions: int
    contested: int
    collision_us: float
    sharing_us: float


@dataclass(frozen=True)
class DesignResult:
    """All that was measured of one design."""

    name: str
    locks: list[Lock]  # most waited first
    pv_wait: dict[str, float]  # collision_us, sharing_us
    pv_ratio: float | None  # the first design's PV list waiting over this one's; None: there is none here
    pv_ratio_ci95: tuple[float, float] | None
    pv_superpages: list[Superpage]
    pv_wait_by_content: list[PVContent]
    pv_locks: list[PVLock]
    pv_bytes: int  # memory that the design's locks, generations and list heads take
    exits_per_s: float
    faults_per_s: float
    exits_per_s_ci95: tuple[float, float] | None
    counts: dict[str, int]  # exits, execs, forks, faults by kind
    chunks_freed_histogram: list[list[int]]  # by pmap_remove_pages call
    cpu_share: dict[str, float]  # of all CPU time: user, kernel, memory, spin, idle, switching, interrupt
    lock_operations: int  # acquires and releases
    wall_s: float

    def lock(self, name: str) -> Lock | None:
        """Return the lock `class:name`, or None when it was never taken."""
        return next((lock for lock in self.locks if lock.lock == name), None)

    @property
    def pv_list(self) -> Lock | None:
        """The PV list locks, of whatever class; None when none was ever taken."""
        return next((lock for lock in self.locks if is_pv_list(lock.lock)), None)

    @property
    def pv_wait_us_90min(self) -> float:
        """Total wait on the PV list locks, scaled to 90 minutes."""
        return self.pv_list.wait_us_90min if self.pv_list else 0.0


def is_pv_list(lock: str) -> bool:
    """Say whether `class:name` is a PV list lock, of whatever class the design has."""
    return lock.partition(":")[2] == PV_NAME


@dataclass(frozen=True)
class Result:
    """Designs side by side, on one machine and workload; `finegrain.Result` is one that shows itself."""

    machine: dict[str, Any]
    workload: dict[str, Any]
    seed: int
    simulated_seconds: float  # measured in each run
    warmup_seconds: float
    replications: int  # independent runs of each design
    precision: float | None  # half-width asked for of the intervals, as a part of the value
    precision_reached: (
        float | None
    )  # the largest half-width of those that it is asked for; None: a single run
    ended: str  # complete, precise, limit (of simulated time), interrupted
    designs: list[DesignResult]
    wall_s: float

    def design(self, name: str) -> DesignResult:
        """Return the design of that name; KeyError if it was not compared."""
        for design in self.designs:
            if design.name == name:
                return design
        raise KeyError(name)
