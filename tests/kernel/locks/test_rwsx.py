"""The rules of rw and sx, one by one (FreeBSD kern_rwlock.c, kern_sx.c)."""

from dataclasses import replace

import pytest

from kernel.scripts import (
    OWNED,
    PAUSES_ONLY,
    R_WAITERS,
    READ,
    READER,
    US,
    W_SPINNER,
    W_WAITERS,
    Play,
    hold,
    later,
    read,
)


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_readers_share(play: Play, kind: str) -> None:
    p = play([kind], read(100), later(1, read(100)), later(2, [("word", 0), *read(100)]))
    assert p.result(2, 1) == 2 * READER + READ
    assert p.profile(shared=True)["contested"] == 0


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_a_waiting_writer_keeps_new_readers_out(play: Play, kind: str) -> None:
    p = play([kind], read(50), later(1, hold(50)), later(10, read(50)), later(5, [("word", 0)]))
    assert p.result(3, 1) == READER + READ + W_SPINNER
    assert p.order("lock") == [1]
    assert p.end(2, 1) > p.end(1, 3)
    assert p.end(1, 1) == pytest.approx(50, abs=0.002)  # one step is one pause: there is one reader


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_who_reads_another_lock_may_pass_a_waiting_writer(play: Play, kind: str) -> None:
    reader = [("rlock", 1), ("charge", 10 * US), ("rlock", 0), ("unlock", 0), ("unlock", 1)]
    p = play([kind, kind], read(50), later(1, hold(50)), reader)
    assert p.end(2, 2) == 10
    # A lock of the other kind gives no such right.
    p = play([kind, "sx" if kind == "rw" else "rw"], read(50), later(1, hold(50)), reader, checked=False)
    assert p.end(2, 2) > 100


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_try_rlock_passes_a_waiting_writer(play: Play, kind: str) -> None:
    p = play([kind], read(50), later(1, hold(50)), later(10, [("tryrlock", 0), ("unlock", 0)]))
    assert p.result(2, 1) == 1


@pytest.mark.parametrize("kind", ["rw", "sx"])
@pytest.mark.parametrize(("cpus", "pauses"), [(104, 326_780), (8, 100_000)])
def test_a_writer_spins_on_readers_for_so_long_and_then_queues(
    play: Play, kind: str, cpus: int, pauses: int
) -> None:
    """Ten rounds of max(10000, back-off limit) pauses."""
    look = [("charge", (pauses - 1000) * 1000), ("word", 0), ("charge", 2 * US), ("word", 0)]
    p = play([kind], read(1001), later(1, hold(1)), later(1, look), cpus=cpus)
    row = p.profile()
    assert round(row["spin"] * 1000) == pauses
    assert round(row["block"] * 1000) == 1_000_000 - pauses
    assert p.result(2, 2) == READER + READ + W_SPINNER
    assert p.result(2, 4) == READER + READ + W_WAITERS


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_a_reader_behind_queued_writers_spins_as_long_and_then_queues(play: Play, kind: str) -> None:
    # The writer queues at 101 us; the reader comes at 200, queues at 300 and is woken by the writer.
    p = play([kind], read(1000), later(1, hold(50)), later(200, read(1)), later(400, [("word", 0)]))
    assert p.result(3, 1) == READER + READ + W_WAITERS + R_WAITERS
    row = p.profile(shared=True)
    assert row["spin"] == 100
    assert row["block"] == 750
    assert p.end(2, 1) == 1050


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_queued_writers_go_before_readers_whose_bit_is_kept(play: Play, kind: str) -> None:
    holder = [("rlock", 0), ("charge", 1000 * US), ("unlock", 0), ("word", 0)]
    writer = later(1, [("lock", 0), ("word", 0), ("charge", 50 * US), ("unlock", 0), ("word", 0)])
    p = play([kind], holder, writer, later(200, read(1)))
    assert p.result(0, 3) == READ + R_WAITERS  # free, the readers still queued
    assert p.result(1, 2) == OWNED + R_WAITERS
    assert p.result(1, 5) == READ
    assert p.end(2, 1) == 1050


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_upgrade_is_for_the_sole_reader(play: Play, kind: str) -> None:
    two = [("rlock", 0), ("charge", 10 * US), ("upgrade", 0), ("unlock", 0)]
    p = play([kind], two, read(20))
    assert p.result(0, 2) == 0
    p = play([kind], [*two[:3], ("word", 0), ("charge", US), ("unlock", 0)], read(5))
    assert p.result(0, 2) == 1
    assert p.result(0, 3) == OWNED


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_upgrade_keeps_the_queued_and_is_seen_by_those_who_spin(play: Play, kind: str) -> None:
    upgrader = [
        ("rlock", 0),
        ("charge", 500 * US),
        ("upgrade", 0),
        ("word", 0),
        ("charge", 5 * US),
        ("unlock", 0),
    ]
    # A writer that came long ago is queued; one that came just now spins on the readers.
    p = play([kind], upgrader, later(1, hold(1)), later(450, hold(1)))
    assert p.result(0, 2) == 1
    assert p.result(0, 3) == OWNED + W_WAITERS
    assert p.end(2, 1) < 520


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_downgrade_lets_waiting_readers_in_unless_a_writer_waits(play: Play, kind: str) -> None:
    # The owner leaves its CPU, so those who wait are queued.
    costs = replace(PAUSES_ONLY, time_slice=1.0)
    down = [
        ("lock", 0),
        ("user", 2000 * US),
        ("downgrade", 0),
        ("word", 0),
        ("user", 1000 * US),
        ("unlock", 0),
    ]
    p = play([kind], down, read(1), cpus=1, costs=costs)
    assert p.result(0, 3) == READER + READ
    assert p.order("rlock") == [1]
    p = play([kind], down, read(1), hold(1), cpus=1, costs=costs)
    assert p.result(0, 3) == READER + READ + R_WAITERS + W_WAITERS
    order = [(row[2], row[4]) for row in p.trace if row[4] in ("lock", "rlock")]
    assert order == [(0, "lock"), (2, "lock"), (1, "rlock")]
