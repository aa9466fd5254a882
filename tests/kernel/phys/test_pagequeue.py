"""Page queues: batches of 31, deferred removal, wiring, and the locks of each step."""

import pytest

from doors.phys import PhysDoor
from finegrain.lab.profile import read_profile
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine

MIB = 1 << 20
INACTIVE, ACTIVE, NONE = 0, 1, 255
ENQUEUED, DEQUEUE, REQUEUE = 8, 16, 32
WIRED = 1


@pytest.fixture
def setup() -> tuple[SimulatedMachine, PhysDoor, int, list[int]]:
    machine = SimulatedMachine(sockets=1, cores=2, threads=1, memory=64 * MIB)
    door = PhysDoor(machine, [(16 * MIB, 64 * MIB, 0)], checked=False)
    obj = door.object(1000)
    return machine, door, obj, door.run([("alloc", obj, i, 0) for i in range(100)])


def acquisitions(machine: SimulatedMachine, name: str) -> int:
    return sum(row["acquisitions"] for row in read_profile(machine) if row["name"] == name)


def test_the_queue_mutex_is_taken_once_for_32_pages(setup) -> None:
    machine, door, _, pages = setup
    door.run([("activate", pa) for pa in pages[:31]])
    assert door.counts()["queued"] == [0, 0]
    assert door.page(pages[0])["queue"] == ACTIVE
    assert acquisitions(machine, "vm active pagequeue") == 0
    door.run([("activate", pages[31])])
    assert door.counts()["queued"] == [0, 32]
    assert acquisitions(machine, "vm active pagequeue") == 1
    assert acquisitions(machine, "vm page") == 32
    door.run([("activate", pa) for pa in pages[:32]])
    assert acquisitions(machine, "vm active pagequeue") == 1, "active pages are not queued again"


def test_each_cpu_has_its_own_batch(setup) -> None:
    machine, door, _, pages = setup
    door.run([("activate", pa) for pa in pages[:20]])
    door.run([("cpu", 1)] + [("activate", pa) for pa in pages[20:40]])
    assert acquisitions(machine, "vm active pagequeue") == 0
    door.run([("activate", pa) for pa in pages[40:52]])
    assert door.counts()["queued"] == [0, 32]


def test_a_freed_page_leaves_its_queue_with_a_batch_or_when_it_is_allocated_again(setup) -> None:
    machine, door, obj, pages = setup
    door.run([("activate", pa) for pa in pages[:32]])
    door.run([("free", pages[0])])
    assert door.page(pages[0])["aflags"] & (ENQUEUED | DEQUEUE) == ENQUEUED | DEQUEUE
    assert door.counts()["queued"] == [0, 32]
    assert acquisitions(machine, "vm active pagequeue") == 1
    assert door.run([("alloc", obj, 500, 0)]) == [pages[0]]
    assert acquisitions(machine, "vm active pagequeue") == 2
    assert door.page(pages[0])["queue"] == NONE
    assert door.counts()["queued"] == [0, 31]
    # The batch still holds the page; carrying it out must leave the page alone.
    door.run([("activate", pages[0])])
    door.run([("free", pa) for pa in pages[1:31]])
    assert acquisitions(machine, "vm active pagequeue") == 3
    assert door.counts()["queued"] == [0, 2], "page 0 and page 31"
    assert door.page(pages[0])["queue"] == ACTIVE
    assert door.page(pages[0])["aflags"] & ENQUEUED


def test_a_page_that_leaves_its_queue_takes_its_neighbours_lines(setup) -> None:
    machine, door, obj, pages = setup
    apart = [
        pages[i * 7 % 96] for i in range(32)
    ]  # in the queue next to pages whose structs are in other lines
    door.run([("activate", pa) for pa in apart])
    door.run([("cpu", 1), ("free", apart[10])])
    assert door.run([("cpu", 1), ("alloc", obj, 500, 0)]) == [0, apart[10]]
    (row,) = [row for row in read_profile(machine) if row["site"] == "vm_page_dequeue"]
    socket = 50_000  # CostModel.xfer_socket: from the CPU that queued them
    assert row["hold_ps"] >= 3 * socket, "both neighbours and the queue's head"


def test_the_last_unwiring_queues_the_page_under_the_page_mutex(setup) -> None:
    machine, door, _, pages = setup
    door.run([("wire", pages[0]), ("wire", pages[0])])
    assert door.page(pages[0])["ref_count"] == 2
    assert acquisitions(machine, "vm page") == 0, "wiring is atomic"
    door.run([("activate", pages[0])])
    assert door.page(pages[0])["queue"] == NONE, "a wired page is on no queue"
    taken = acquisitions(machine, "vm page")
    door.run([("unwire", pages[0])])
    assert acquisitions(machine, "vm page") == taken
    door.run([("unwire", pages[0])])
    assert acquisitions(machine, "vm page") == taken + 1
    assert door.page(pages[0])["queue"] == INACTIVE
    assert door.page(pages[0])["aflags"] & REQUEUE
    with pytest.raises(KernelPanic, match="not wired"):
        door.run([("unwire", pages[0])])


def test_an_active_page_stays_active_when_it_is_unwired(setup) -> None:
    _, door, _, pages = setup
    door.run([("activate", pages[0]), ("wire", pages[0]), ("unwire", pages[0])])
    assert door.page(pages[0])["queue"] == ACTIVE
    assert door.page(pages[0])["aflags"] & 2, "referenced"


def test_unwiring_a_page_that_no_object_holds_frees_it(setup) -> None:
    machine, door, _, _ = setup
    before = door.counts()["allocated"]
    page = door.run([("alloc_noobj", -1, WIRED)])[0]
    assert door.counts()["allocated"] == before + 1
    door.run([("unwire", page)])
    assert door.counts()["allocated"] == before
    assert acquisitions(machine, "vm page") == 0


def test_pages_of_one_superpage_share_a_page_mutex_and_so_do_those_512_mb_apart() -> None:
    machine = SimulatedMachine(sockets=1, cores=1, threads=1, memory=1 << 31)
    door = PhysDoor(machine, [(16 * MIB, 1 << 31, 0)])
    base = 32 * MIB
    locks = [door.page_lock(pa) for pa in (base, base + 511 * 4096, base + 512 * 4096, base + 512 * MIB)]
    assert locks[0] == locks[1] == locks[3]
    assert locks[2] == locks[0] + 1


def test_a_batch_leaves_a_page_alone_that_has_changed_queues(setup) -> None:
    _, door, _, pages = setup
    door.run([("wire", pages[0]), ("unwire", pages[0]), ("activate", pages[0])])
    door.run([step for pa in pages[1:32] for step in (("wire", pa), ("unwire", pa))])
    assert door.counts()["queued"] == [31, 0], "page 0 waits in the other batch"
    door.run([("activate", pa) for pa in pages[40:71]])
    assert door.counts()["queued"] == [31, 32]
