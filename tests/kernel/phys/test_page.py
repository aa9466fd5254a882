"""Pages against a model that says which address every allocation gets; sizes; contracts; a big machine's cost."""

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doors.phys import PhysDoor, sizes
from finegrain.machine.errors import KernelPanic
from finegrain.machine.simulated import SimulatedMachine
from kernel.phys_model import Model, Object

MIB = 1 << 20
WIRED, NOBUSY = 1, 4
CORES = 2  # CPUs 0 and 1 on socket 0, 2 and 3 on socket 1


class Pair:
    """The kernel and the model side by side; every operation runs on both and must give the same."""

    def __init__(self, segments: list[tuple[int, int, int]], objects: list[Object]) -> None:
        self.machine = SimulatedMachine(sockets=2, cores=CORES, threads=1, memory=segments[-1][1])
        self.door = PhysDoor(self.machine, segments)
        self.model = Model(segments)
        for obj in objects:
            self.door.object(obj.size, color=None if obj.color < 0 else obj.color, file=not obj.grows)
            self.model.objects.append(Object(obj.size, obj.color, obj.grows))
        self.cpu = 0
        self.loose: list[int] = []
        self.domains = len(self.model.buddies)

    def run(self, *op: str | int) -> int:
        return self.door.run([("cpu", self.cpu), op])[1]

    def live(self) -> list[int]:
        return [page for obj in self.model.objects for page in obj.pages.values()] + self.loose

    def oldest(self) -> list[list[int]]:
        return [[pa >> 12 for pa in self.door.partpop(d)] for d in range(self.domains)]

    def alloc(self, owner: int, pindex: int) -> None:
        if pindex in self.model.objects[owner].pages:
            return
        before = set(self.live())
        want = self.model.alloc(owner, pindex, self.cpu, self.cpu // CORES, self.oldest())
        got = self.run("alloc", owner, pindex, 0)
        assert got == (0 if want is None else want << 12)
        assert got == 0 or got >> 12 not in before

    def noobj(self, domain: int) -> None:
        first = domain % self.domains if domain >= 0 else self.cpu // CORES
        want = self.model.alloc_noobj(self.cpu, first, self.oldest())
        got = self.run("alloc_noobj", first if domain >= 0 else -1, 0)
        assert got == (0 if want is None else want << 12)
        if want is not None:
            self.loose.append(want)

    def free(self, which: int) -> None:
        live = self.live()
        if live:
            page = live[which % len(live)]
            if page in self.loose:
                self.loose.remove(page)
            self.model.free(page, self.cpu)
            self.run("free", page << 12)

    def rename(self, which: int, owner: int, pindex: int) -> None:
        live = self.live()[: len(self.live()) - len(self.loose)]
        if live and pindex not in self.model.objects[owner].pages:
            page = live[which % len(live)]
            self.model.rename(page, owner, pindex)
            self.run("rename", owner, pindex, page << 12)

    def break_all(self, owner: int) -> None:
        self.model.break_all(owner)
        self.run("break_all", owner)

    def terminate(self, owner: int) -> None:
        for _, page in sorted(self.model.objects[owner].pages.items()):
            self.model.free(page, self.cpu)
        self.model.break_all(owner)
        self.run("terminate", owner)

    def check(self) -> None:
        counts = self.door.counts()
        assert counts["faults"] == 0
        assert counts["allocated"] == len(self.live())
        assert counts["free"] + counts["allocated"] == self.model.total
        for domain, buddy in enumerate(self.model.buddies):
            want = {key: [page << 12 for page in queue] for key, queue in buddy.queues.items() if queue}
            assert self.door.free_blocks(domain) == want
        for number, obj in enumerate(self.model.objects):
            assert self.door.pages(number) == sorted((i, page << 12) for i, page in obj.pages.items())
            mine = {
                r.base << 12: (r.pindex % 2**64, len(r.used))
                for r in self.model.reservations.values()
                if r.owner == number
            }
            assert self.door.reservations(number) == mine


@st.composite
def memories(draw: Callable) -> list[tuple[int, int, int]]:
    """Two to four segments, at odd places, with holes or without, in one domain or two."""
    cuts = sorted(draw(st.lists(st.integers(256, 14000), min_size=4, max_size=6, unique=True)))
    pairs = list(pairwise(cuts)) if draw(st.booleans()) else list(zip(cuts[::2], cuts[1::2], strict=False))
    border = draw(st.integers(0, len(pairs)))
    return [
        (a << 12, b << 12, int(border <= i < len(pairs) and border > 0)) for i, (a, b) in enumerate(pairs)
    ]


objects = st.lists(
    st.builds(Object, st.integers(1, 3000), st.sampled_from([-1, 0, 0, 3, 511]), st.booleans()),
    min_size=2,
    max_size=3,
)
indexes = st.integers(0, 1500)
operations = st.one_of(
    st.tuples(st.just("alloc"), st.integers(0, 2), indexes),
    st.tuples(st.just("run"), st.integers(0, 2), indexes, st.integers(2, 700)),
    st.tuples(st.just("noobj"), st.integers(-1, 1)),
    st.tuples(st.just("noobjs"), st.integers(-1, 1), st.integers(2, 400)),
    st.tuples(st.just("free"), st.integers(0, 10**6)),
    st.tuples(st.just("frees"), st.integers(0, 10**6), st.integers(2, 900), st.sampled_from([1, 7])),
    st.tuples(st.just("rename"), st.integers(0, 10**6), st.integers(0, 2), indexes),
    st.tuples(st.just("break_all"), st.integers(0, 2)),
    st.tuples(st.just("terminate"), st.integers(0, 2)),
    st.tuples(st.just("cpu"), st.integers(0, 3)),
)


def apply(pair: Pair, op: tuple) -> None:
    name, *args = op
    if name in ("alloc", "run", "break_all", "terminate"):
        args[0] %= len(pair.model.objects)
    if name == "rename":
        args[1] %= len(pair.model.objects)
    if name == "cpu":
        pair.cpu = args[0]
    elif name == "run":
        for i in range(args[2]):
            pair.alloc(args[0], args[1] + i)
    elif name == "noobjs":
        for _ in range(args[1]):
            pair.noobj(args[0])
    elif name == "frees":
        for i in range(args[1]):
            pair.free(args[0] + i * args[2])
    else:
        getattr(pair, name)(*args)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(memories(), objects, st.lists(operations, max_size=12))
def test_every_address_is_the_models(
    segments: list[tuple[int, int, int]], objects: list[Object], ops: list[tuple]
) -> None:
    pair = Pair(segments, objects)
    for op in ops:
        apply(pair, op)
        pair.check()
    for owner in range(len(objects)):
        pair.terminate(owner)
    while pair.loose:
        pair.free(0)
    pair.check()
    assert pair.door.counts()["allocated"] == 0


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**63 - 1), st.sampled_from([12, 24, 64]))
def test_many_threads_at_once_never_share_a_page(seed: int, mib: int) -> None:
    machine = SimulatedMachine(sockets=2, cores=3, threads=2, memory=mib * MIB)
    door = PhysDoor(machine, [(MIB, mib // 2 * MIB, 0), (mib // 2 * MIB, mib * MIB, 1)])
    total = door.counts()["free"]
    told = door.storm(15, 400, seed)
    assert told["faults"] == 0
    assert told["refused"] > 0 or mib > 12, "little memory must run out, for the shortage to be tested"
    assert told["refused"] == 0 or mib < 64
    assert door.counts()["allocated"] == 0
    assert door.counts()["free"] == total
    assert door.counts()["faults"] == 0


def test_structs_have_freebsds_sizes() -> None:
    assert sizes() == {
        "vm_page": 104,
        "md_page": 24,
        "vm_reserv": 160,
        "pv_entry": 24,
        "pv_chunk": 4096,
        "vm_domain": 25 * 128,
    }


BIG_MACHINE = """
import resource
from doors.phys import PhysDoor
from finegrain.machine.memory import default_segments, span
from finegrain.machine.simulated import SimulatedMachine

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

segments = default_segments()
machine = SimulatedMachine(memory=span(segments))
before = peak()
door = PhysDoor(machine, segments)
created = peak()
objects = [door.object(512, color=0) for _ in range(1000)]
door.run([("alloc", o, i, 0) for o in objects for i in range(3)])
print(created - before, peak() - created, door.counts()["allocated"])
"""


def test_a_512_gb_machine_takes_memory_only_for_what_is_used() -> None:
    out = subprocess.run([sys.executable, "-c", BIG_MACHINE], capture_output=True, text=True, check=True)
    created_kib, used_kib, allocated = map(int, out.stdout.split())
    assert allocated == 3000
    assert created_kib < 4 * 1024
    # 1,000 reservations with three pages each: about four pages of 4 KB each (page structs, their cache lines, the
    # object), not the 53 KB of page structs that a whole superpage has.
    assert used_kib < 24 * 1024


@pytest.fixture
def door() -> PhysDoor:
    """Operations that do not ask first: what the kernel itself asserts."""
    machine = SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 * MIB)
    return PhysDoor(machine, [(16 * MIB, 64 * MIB, 0)], checked=False)


def test_a_page_is_free_only_once(door: PhysDoor) -> None:
    page = door.run([("alloc_noobj", -1)])[0]
    door.run([("free", page)])
    with pytest.raises(KernelPanic, match="vm_page_free: the page is free already"):
        door.run([("free", page)])


def test_a_wired_page_is_not_freed(door: PhysDoor) -> None:
    page = door.run([("alloc_noobj", -1, WIRED)])[0]
    with pytest.raises(KernelPanic, match="vm_page_free: the page is wired"):
        door.run([("free", page)])


def test_allocation_needs_the_object_write_locked(door: PhysDoor) -> None:
    obj = door.object(10)
    with pytest.raises(KernelPanic, match="vm_page_alloc: the object is not write-locked"):
        door.run([("alloc_unlocked", obj, 0)])


def test_a_place_takes_one_page(door: PhysDoor) -> None:
    obj = door.object(10)
    door.run([("alloc", obj, 3, 0)])
    with pytest.raises(KernelPanic, match="resident at this index"):
        door.run([("alloc", obj, 3, 0)])


def test_a_new_page_is_busy_unless_asked_otherwise(door: PhysDoor) -> None:
    obj = door.object(10)
    busy, free = door.run([("alloc", obj, 0, 0), ("alloc", obj, 1, NOBUSY)])
    assert (door.page(busy)["busy_lock"], door.page(free)["busy_lock"]) == (2, 1)
    door.run([("xunbusy", busy)])
    assert door.page(busy)["busy_lock"] == 1
    assert door.page(busy)["ref_count"] == 0
    with pytest.raises(KernelPanic, match="not exclusively busied"):
        door.run([("xunbusy", busy)])


@pytest.mark.parametrize(
    "segments",
    [
        [(0, 64 * MIB, 0)],
        [(32 * MIB, 16 * MIB, 0)],
        [(16 * MIB, 32 * MIB, 0), (24 * MIB, 48 * MIB, 0)],
        [(16 * MIB + 1, 32 * MIB, 0)],
        [(16 * MIB, 32 * MIB, 16)],
        [(16 * MIB, 128 * MIB, 0)],
        [],
    ],
)
def test_segments_that_cannot_be_are_refused(segments: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match="memory segment"):
        PhysDoor(SimulatedMachine(sockets=1, cores=1, threads=1, memory=64 * MIB), segments)
