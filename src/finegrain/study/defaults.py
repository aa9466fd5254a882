"""What a study takes where nothing else is said, and what it may be given."""

from finegrain.machine.shape import DEFAULT_SHAPE

DEFAULT_WORKLOAD = "hello"
DEFAULT_SECONDS = 0.04  # of each run, on the default machine and smaller ones
DEFAULT_WARMUP = 0.05  # by then PV list waiting in head has nearly stopped rising (docs/statistics.md)
DEFAULT_REPLICATIONS = 5
PRECISION_REPLICATIONS = 5  # fewer runs are not asked how precise they are: a small spread may be luck
PRECISION_LIMIT_S = (
    20.0  # simulated seconds measured of each design, at most, whatever precision is asked for
)
DEFAULT_MEMORY = 512 << 30  # the default machine's, bytes
MAX_JOBS = 4096
FREE_MEMORY = ("used", "fresh")


def default_images(workload: str) -> str:
    """Say whose the files are: builders of packages have those of their jails and of their host."""
    return "mixed" if workload == "poudriere" else "private"


def default_seconds(cpus: int) -> float:
    """Say how many simulated seconds to measure: on more CPUs than the default machine's, as many CPU-seconds."""
    return round(DEFAULT_SECONDS * min(1.0, DEFAULT_SHAPE.cpus / cpus), 3)
