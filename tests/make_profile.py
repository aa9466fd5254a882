"""Profiles made by hand."""

from finegrain.profile.queueing import closed
from finegrain.profile.table import Builder, Profile


def profile(name: str, waits: dict[str, float | None], **more: object) -> Profile:
    """A profile of locks `class:name` with these waits, 10 acquisitions and 4 us of holds each."""
    builder = Builder(("lock_class", "lock", "role", "count", "wait_us", "hold_us"))
    for lock, wait in waits.items():
        lock_class, _, bare = lock.rpartition(":")
        builder.add((lock_class or None, bare, "lock", 10, wait, 4.0))
    return Profile(source=name, format="test", system="test", table=builder.finish(), **more)  # type: ignore[arg-type]


HEAD = profile("head", {"rw:pv list": 1000.0, "sx:map": 300.0, "mutex:page": 200.0, "rw:old": 50.0})
FINE = profile("fine", {"rw:pv list": 100.0, "sx:map": 500.0, "mutex:page": 180.0, "mutex:chunk": 25.0})


def holds_profile(locks: dict[str, tuple[int | None, float | None, float | None]], **more: object) -> Profile:
    """A profile of `class:name` -> (acquisitions, hold, wait)."""
    builder = Builder(("lock_class", "lock", "role", "count", "hold_us", "wait_us"))
    for name, (count, hold, wait) in locks.items():
        lock_class, _, lock = name.partition(":")
        builder.add((lock_class, lock, "lock", count, hold, wait))
    return Profile(source="p", format="test", system="test", table=builder.finish(), **more)  # type: ignore[arg-type]


# One second, 104 threads, Z/S = 100 at 7 us a hold: 135,251 acquisitions, each waiting 8.84872 holds.
RATE = closed(104, 1, 7.0, 700.0)[0]
COUNT = round(RATE * 1e6)
BUSY = holds_profile(
    {"rw:pv list": (COUNT, COUNT * 7.0, 5e6), "sx:map": (1000, 3e5, 1.0), "rw:objects": (10, 2e6, None)},
    span_s=1.0,
    cpus=104,
)
