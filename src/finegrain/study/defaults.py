"""What a study takes where nothing else is said, and what it may be given."""

DEFAULT_WORKLOAD = "hello"
DEFAULT_SECONDS = 0.2
DEFAULT_WARMUP = 0.05
DEFAULT_MEMORY = 512 << 30  # the default machine's, bytes
MAX_JOBS = 4096
IMAGES = ("private", "shared")
