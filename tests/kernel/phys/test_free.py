"""Free blocks and per-CPU caches: order of search, pools, batches, locks."""

from collections import Counter

from doors.phys import PhysDoor
from finegrain.lab.profile import read_profile
from finegrain.machine.simulated import SimulatedMachine

MIB = 1 << 20
PAGE = 4096
BUCKET = 253


def make(*segments: tuple[int, int, int], sockets: int = 1) -> tuple[SimulatedMachine, PhysDoor]:
    machine = SimulatedMachine(sockets=sockets, cores=2, threads=1, memory=segments[-1][1])
    return machine, PhysDoor(machine, segments)


def acquisitions(machine: SimulatedMachine, name: str) -> int:
    rows = read_profile(machine)
    return sum(row["acquisitions"] for row in rows if row["name"] == name)


def test_memory_begins_as_the_largest_aligned_blocks_in_ascending_order() -> None:
    start, end = 16 * MIB + 3 * PAGE, 80 * MIB + 5 * PAGE
    _, door = make((start, end, 0))
    blocks = {order: pages for (_, _, order), pages in door.free_blocks(0).items()}
    assert blocks[12] == [32 * MIB, 48 * MIB, 64 * MIB]
    assert sum(len(pages) << order for order, pages in blocks.items()) == (end - start) // PAGE
    covered = sorted((pa, pa + (PAGE << order)) for order, pages in blocks.items() for pa in pages)
    assert [b for _, b in covered[:-1]] == [a for a, _ in covered[1:]]
    assert all(pa % (PAGE << order) == 0 for order, pages in blocks.items() for pa in pages)


def test_fresh_single_pages_come_in_descending_order_from_the_lowest_block() -> None:
    _, door = make((16 * MIB, 64 * MIB, 0))
    obj = door.object(1000)
    pages = door.run([("alloc", obj, i, 0) for i in range(300)])
    assert pages[:BUCKET] == [16 * MIB + (BUCKET - 1 - i) * PAGE for i in range(BUCKET)]
    # The next bucket begins with what is left of the block, smallest pieces first.
    assert sorted(pages[BUCKET:])[-1] == pages[BUCKET] == 16 * MIB + (2 * BUCKET - 1) * PAGE


def test_low_memory_goes_last() -> None:
    _, door = make((MIB, 18 * MIB, 0))
    assert {freelist for freelist, _, _ in door.free_blocks(0)} == {0, 2}
    obj = door.object(10000)
    pages = door.run([("alloc", obj, i, 0) for i in range(17 * 256)])
    assert 0 not in pages
    high = [i for i, pa in enumerate(pages) if pa >= 16 * MIB]
    assert len(high) == 512
    assert max(high) < 3 * BUCKET, "only a bucket is mixed"
    assert door.run([("alloc", obj, 9999, 0)]) == [0]


def test_dma32_list_exists_only_with_much_memory_above() -> None:
    gib = 1 << 30
    _, small = make((MIB, 2 * gib, 0), (4 * gib, 8 * gib, 0))
    _, big = make((MIB, 2 * gib, 0), (4 * gib, 80 * gib, 0))
    assert [s[3] for s in small.segments()] == [2, 0, 0]
    assert [s[3] for s in big.segments()] == [2, 1, 0]
    assert big.run([("alloc_noobj", 0)])[0] >= 4 * gib


def test_a_page_freed_last_is_allocated_first_on_its_cpu_only() -> None:
    _, door = make((16 * MIB, 64 * MIB, 0))
    obj = door.object(1000)
    a, b = door.run([("alloc", obj, 0, 0), ("alloc", obj, 1, 0)])
    assert door.run([("free", b), ("free", a), ("alloc", obj, 2, 0), ("alloc", obj, 3, 0)])[2:] == [a, b]
    door.run([("free", a)])
    other = door.run([("cpu", 1), ("alloc", obj, 4, 0)])[1]
    assert other != a
    assert door.run([("alloc", obj, 5, 0)]) == [a]


def test_one_lock_hold_for_a_bucket_in_and_a_bucket_out() -> None:
    machine, door = make((16 * MIB, 64 * MIB, 0))
    obj = door.object(5000)
    pages = door.run([("alloc", obj, i, 0) for i in range(4 * BUCKET)])
    assert acquisitions(machine, "vm page free queue") == 4
    door.run([("free", pa) for pa in pages[: 2 * BUCKET]])
    assert acquisitions(machine, "vm page free queue") == 4
    assert door.counts()["cached"] == [2 * BUCKET]
    door.run([("free", pages[-1])])
    assert acquisitions(machine, "vm page free queue") == 5
    assert door.counts()["cached"] == [BUCKET + 1]
    assert door.counts()["faults"] == 0


def test_an_empty_pool_takes_over_a_whole_block() -> None:
    _, door = make((16 * MIB, 64 * MIB, 0))
    table = door.run([("alloc_noobj", 0, 1)])[0]
    assert 16 * MIB <= table < 32 * MIB
    pools = Counter(pool for (_, pool, _), pages in door.free_blocks(0).items() for _ in pages)
    assert all(order == 12 for _, pool, order in door.free_blocks(0) if pool == 0)
    assert pools[1] > 1
    obj = door.object(10)
    assert door.run([("alloc", obj, 0, 0)])[0] >= 32 * MIB


def test_everything_merges_back_into_the_first_blocks() -> None:
    _, door = make((16 * MIB + 7 * PAGE, 64 * MIB - 9 * PAGE, 0))
    before = door.free_blocks(0)
    obj = door.object(20000)
    total = door.counts()["free"]
    pages = door.run([("alloc", obj, i, 0) for i in range(total)])
    assert len(set(pages)) == total
    assert door.run([("alloc", obj, 19999, 0)]) == [0]
    door.run([("free", pa) for pa in pages])
    cached = door.counts()["cached"][0]
    assert cached == 2 * BUCKET
    # What is missing now is in the cache; all the rest is in the largest blocks it can be.
    left = sum(len(b) << order for (_, _, order), b in door.free_blocks(0).items())
    assert left == total - cached
    assert sum(map(len, door.free_blocks(0).values())) < sum(map(len, before.values())) + 40


def test_memory_comes_from_the_cpus_own_domain_first_and_then_the_other() -> None:
    machine, door = make((16 * MIB, 24 * MIB, 0), (24 * MIB, 32 * MIB, 1), sockets=2)
    obj = door.object(10000)
    near = door.run([("cpu", 2), ("alloc", obj, 0, 0)])[1]
    assert near >= 24 * MIB
    pages = door.run([("cpu", 2)] + [("alloc", obj, i, 0) for i in range(1, 4096)])[1:]
    assert all(pages)
    far = [i for i, pa in enumerate(pages) if pa < 24 * MIB]
    assert far == list(range(2047, 4095))
    assert machine is not None


def test_a_pool_lends_to_the_other_in_both_directions() -> None:
    _, door = make((16 * MIB, 24 * MIB, 0))
    door.run([("alloc_noobj", -1)])
    assert {pool for _, pool, _ in door.free_blocks(0)} == {1}, "the whole memory was one block"
    obj = door.object(10000)
    pages = door.run([("alloc", obj, i, 0) for i in range(2048 - BUCKET)])
    assert all(pages), "all that the other CPU-local caches do not hold"
    assert door.run([("alloc", obj, 9999, 0)]) == [0]
