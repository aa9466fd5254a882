"""How many machines fit in this computer's memory at once."""

import os

# A machine that replays the bundled recording takes some 450 MiB and each builder 2 MiB ("make bench" prints what whole
# runs take); other recordings may take more, or less.
BASE_BYTES = 450 << 20
BUILDER_BYTES = 2 << 20


def available() -> int:
    """Bytes of memory that this computer can still give; a great many where it does not say."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 1 << 62


def processes_that_fit(jobs: int) -> int:
    """Say how many machines of `jobs` builders may run at once: one a core, fewer where memory is short."""
    return max(1, min(os.cpu_count() or 1, available() // (BASE_BYTES + jobs * BUILDER_BYTES)))
