"""Reservations: who gets one, how they fill and end, the tick filter of their domain's mutex."""

import pytest

from doors.phys import PhysDoor
from finegrain.lab.profile import read_profile
from finegrain.machine.simulated import SimulatedMachine

MIB = 1 << 20
SUPERPAGE = 2 * MIB
TICK = 10**9
DOMAIN = "VM reserv domain"


def make(end: int = 128 * MIB) -> tuple[SimulatedMachine, PhysDoor]:
    machine = SimulatedMachine(sockets=1, cores=2, threads=1, memory=end)
    return machine, PhysDoor(machine, [(16 * MIB, end, 0)])


def acquisitions(machine: SimulatedMachine, name: str) -> int:
    return sum(row["acquisitions"] for row in read_profile(machine) if row["name"] == name)


def test_pages_lie_in_the_superpage_as_in_the_object() -> None:
    _, door = make()
    obj = door.object(2000, color=3)
    order = [700, 510, 1021, 600, 1020, 509]
    pages = dict(zip(order, door.run([("alloc", obj, i, 0) for i in order]), strict=True))
    assert all(pa % SUPERPAGE == (i + 3) % 512 * 4096 for i, pa in pages.items())
    assert len({pages[i] // SUPERPAGE for i in (509, 510, 600, 700, 1020)}) == 1
    assert pages[1021] // SUPERPAGE != pages[1020] // SUPERPAGE
    assert sorted(door.reservations(obj).values()) == [(509, 5), (1021, 1)]


def test_without_a_color_there_is_no_reservation() -> None:
    _, door = make()
    obj = door.object(2000)
    door.run([("alloc", obj, i, 0) for i in range(20)])
    assert door.reservations(obj) == {}


def test_a_reservation_may_run_past_the_end_of_anonymous_memory_but_not_of_a_file() -> None:
    _, door = make()
    heap, file, copy = door.object(600, color=0), door.object(600, color=0, file=True), 0
    copy = door.object(600, color=0, backing=file)
    for obj, want in ((heap, [(0, 1), (512, 1)]), (file, [(0, 1)]), (copy, [(0, 1)])):
        door.run([("alloc", obj, 0, 0), ("alloc", obj, 599, 0)])
        assert sorted(door.reservations(obj).values()) == want
    assert door.run([("alloc", heap, 600, 0)])[0] % SUPERPAGE != 600 % 512 * 4096, "beyond the object's end"


@pytest.mark.parametrize("taken", [512, 600, 1023])
def test_a_reservation_needs_room_between_its_neighbours(taken: int) -> None:
    _, door = make()
    obj, other = door.object(2000, color=0), door.object(10)
    single = door.run([("alloc", other, 0, 0)])[0]
    door.run([("rename", obj, taken, single)])
    door.run([("alloc", obj, 800, 0), ("alloc", obj, 511, 0), ("alloc", obj, 1024, 0)])
    assert sorted(door.reservations(obj).values()) == [(0, 1), (1024, 1)], f"page {taken} is in the way"


def test_a_full_reservation_is_a_superpage_until_its_first_page_is_freed() -> None:
    _, door = make()
    obj = door.object(512, color=0)
    pages = door.run([("alloc", obj, i, 0) for i in range(511)])
    assert door.run([("full_level", pages[7]), ("superpage", pages[7])]) == [-1, 0]
    last = door.run([("alloc", obj, 511, 0)])[0]
    assert door.run([("full_level", pages[7]), ("superpage", last)]) == [0, pages[0]]
    assert door.page(pages[0])["psind"] == 1
    assert door.partpop(0) == []
    door.run([("charge", TICK), ("free", pages[300])])
    assert door.page(pages[0])["psind"] == 0
    assert door.run([("superpage", last)]) == [0]
    assert door.partpop(0) == [pages[0]]
    assert door.run([("alloc", obj, 300, 0)]) == [pages[300]], "the same place again"


def test_the_domain_mutex_is_taken_once_a_tick_and_when_a_reservation_becomes_full_or_empty() -> None:
    machine, door = make()
    obj = door.object(512, color=0)

    def cost(*ops: tuple) -> int:
        before = acquisitions(machine, DOMAIN)
        door.run([("charge", TICK), *ops])
        return acquisitions(machine, DOMAIN) - before

    def alloc(n: int) -> list[tuple]:
        start = len(door.pages(obj))
        return [("alloc", obj, i, 0) for i in range(start, start + n)]

    assert cost(*alloc(100)) == 1
    assert cost(*alloc(100), ("charge", TICK), *[("alloc", obj, 200, 0)]) == 2
    assert cost(*alloc(311)) == 2, "once for the tick, once for becoming full"
    pages = [pa for _, pa in door.pages(obj)]
    assert cost(*[("free", pa) for pa in pages[:400]]) == 1
    assert cost(*[("free", pa) for pa in pages[400:]]) == 2, "once for the tick, once for becoming empty"
    assert door.reservations(obj) == {}


def test_a_page_more_in_a_reservation_takes_no_free_queue_mutex() -> None:
    machine, door = make()
    obj = door.object(512, color=0)
    pages = door.run([("alloc", obj, i, 0) for i in range(300)])
    assert acquisitions(machine, "vm page free queue") == 1
    door.run([("free", pa) for pa in pages[1:]])
    assert acquisitions(machine, "vm page free queue") == 1
    door.run([("free", pages[0])])
    assert acquisitions(machine, "vm page free queue") == 2
    assert door.counts()["allocated"] == 0


def test_the_least_recently_changed_reservation_is_broken_first() -> None:
    _, door = make()
    objs = [door.object(512, color=0) for _ in range(3)]
    bases = []
    for obj in objs:
        bases += door.run([("charge", TICK), ("alloc", obj, 0, 0)])[1:]
    assert door.partpop(0) == bases
    door.run([("charge", TICK), ("alloc", objs[0], 1, 0)])
    assert door.partpop(0) == [bases[1], bases[2], bases[0]]
    assert door.run([("reclaim", 0)]) == [1]
    assert door.reservations(objs[1]) == {}
    assert door.pages(objs[1]) == [(0, bases[1])], "its page stays"
    assert door.counts()["faults"] == 0


def test_breaking_frees_the_unused_runs_one_lock_hold_each() -> None:
    machine, door = make()
    obj = door.object(512, color=0)
    pages = door.run([("alloc", obj, i, 0) for i in (0, 1, 100, 511)])
    before = acquisitions(machine, "vm page free queue")
    free = door.counts()["free"]
    door.run([("break_all", obj)])
    assert acquisitions(machine, "vm page free queue") == before + 2
    assert door.counts()["free"] == free
    assert door.reservations(obj) == {}
    door.run([("free", pa) for pa in pages])
    assert acquisitions(machine, "vm page free queue") == before + 6, "no cache: they did not come from one"
    assert door.counts() == {"free": free + 4, "allocated": 0, "cached": [0], "queued": [0, 0], "faults": 0}
    assert all(order == 12 for _, _, order in door.free_blocks(0))


def test_shortage_breaks_reservations_before_allocation_fails() -> None:
    _, door = make(20 * MIB)
    objs = [door.object(512, color=0) for _ in range(2)]
    door.run([("alloc", obj, 0, 0) for obj in objs])
    filler = door.object(5000)
    pages = door.run([("alloc", filler, i, 0) for i in range(1100)])
    assert sum(map(bool, pages)) == 1024 - 2
    assert len(set(filter(None, pages))) == 1022
    assert all(door.reservations(obj) == {} for obj in objs)
    assert door.counts()["faults"] == 0


def test_a_renamed_page_takes_its_reservation_along() -> None:
    _, door = make()
    old, new = door.object(1024, color=0), door.object(1024, color=0)
    pages = door.run([("alloc", old, i, 0) for i in (512, 513)])
    door.run([("rename", new, 0, pages[0])])
    assert door.reservations(old) == {}
    assert door.reservations(new) == {pages[0]: (0, 2)}
    assert door.run([("alloc", new, 2, 0)]) == [pages[0] + 2 * 4096]
    assert door.run([("alloc", new, 1, 0)])[0] != pages[1], "that place is the old object's page still"
    door.run([("terminate", old), ("terminate", new)])
    assert door.counts()["allocated"] == 0
    assert door.counts()["faults"] == 0
