"""What a study takes where nothing else is said, and what it may be given."""

DEFAULT_WORKLOAD = "hello"
DEFAULT_SECONDS = 0.1  # of each run
DEFAULT_WARMUP = 0.05
DEFAULT_REPLICATIONS = 5
PRECISION_REPLICATIONS = 5  # fewer runs are not asked how precise they are: a small spread may be luck
PRECISION_LIMIT_S = (
    20.0  # simulated seconds measured of each design, at most, whatever precision is asked for
)
DEFAULT_MEMORY = 512 << 30  # the default machine's, bytes
MAX_JOBS = 4096
IMAGES = ("private", "shared")
FREE_MEMORY = ("used", "fresh")
