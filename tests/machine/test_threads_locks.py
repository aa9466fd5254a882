"""The lock layer on real threads: see tests/doors/threads.pyx; with ThreadSanitizer, `make tsan`."""

from collections import Counter

import pytest

from doors.threads import LockStress
from finegrain.machine.errors import KernelPanic

RUNS = 10  # at most, each of a second


def never_taken(counts: Counter[str]) -> list[str]:
    """The paths that no thread took; which kind of lock is lost to a newcomer is left to chance."""
    return [name for name in counts if not counts[name] and not name.startswith("lost")]


def run_often(fault: str) -> None:
    for seed in range(RUNS):
        LockStress(4, seed=seed + 1, fault=fault).run(0.3, grace=2)


@pytest.mark.parametrize("threads", [2, 6])
def test_every_path_of_every_lock_is_taken_and_nothing_goes_wrong(threads: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(RUNS):
        counts.update(LockStress(threads, seed=seed + 1).run(1))
        if not never_taken(counts):
            break
    assert not never_taken(counts)
    assert sum(n for name, n in counts.items() if name.startswith("lost")) > 0


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (
            "keep",
            r"a thread ended with locks held\nin thread 1 .*holds sleep mutex:stress \(stress/exclusive\)",
        ),
        ("silent", r"the threads do not end: a wake-up was lost(.|\n)*thread \d sleeps on the channel"),
        ("barge", r"(entered|was entered|beside its readers)"),
    ],
)
def test_what_threads_do_wrong_is_found_and_told(fault: str, found: str) -> None:
    with pytest.raises(KernelPanic, match=found):
        run_often(fault)
