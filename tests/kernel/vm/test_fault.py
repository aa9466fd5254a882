"""Page faults: prefaults, copies, pages taken over, superpages."""

import pytest

from finegrain.lab.profile import read_profile
from finegrain.machine.costs import CostModel
from finegrain.options import KernelOptions
from kernel.vm_model import PAGE, READ
from kernel.vm_pair import BASE, RW, Pair


def test_prefault_maps_four_neighbours_on_each_side():
    pair = Pair()
    pair.new(0)
    # whole pages of page-table entries must be there first: prefault never makes a page-table page
    pair.mmap(0, BASE + 100, 100, READ, False, 0, 0, 0)
    pair.read(0, BASE + 150)
    pair.read(0, BASE + 154)  # mapped already
    pair.read(0, BASE + 199)  # the last one: none ahead
    pair.check()
    assert pair.vm.resident(0) == 9 + 5
    assert sum(pair.vm.faults().values()) == 2
    pair.end()


def test_last_user_takes_the_page_over():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 2, RW, False, -1, 0, 0)
    pair.write(0, BASE, 1)
    pair.write(0, BASE + 1, 2)
    pair.fork(0, 1)
    pair.write(0, BASE, 3)  # parent: a shadow with one page
    pair.check()
    frame = pair.vm.do("frame", 1, BASE * PAGE)
    pair.exit(0)  # the child's object now has the pages to itself
    pair.write(1, BASE, 4)
    pair.check()
    assert pair.vm.do("frame", 1, BASE * PAGE) == frame
    pair.end()


def test_backing_page_is_moved_when_only_one_shadow_can_see_it():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 2, RW, False, -1, 0, 0)
    pair.write(0, BASE, 1)
    pair.write(0, BASE + 1, 2)
    pair.fork(0, 1)
    pair.fork(0, 2)
    pair.write(0, BASE, 3)
    pair.exit(1)
    pair.exit(2)
    pair.write(0, BASE + 1, 5)
    pair.read(0, BASE)
    pair.check()
    assert pair.vm.chain(0, BASE * PAGE)[0][:2] == (1, 2)
    pair.end()


def test_reading_from_a_backing_object_gives_no_right_to_write():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 2, RW, False, -1, 0, 0)
    pair.write(0, BASE, 1)
    pair.write(0, BASE + 1, 2)
    pair.fork(0, 1)
    pair.write(1, BASE, 3)  # the child has a shadow now: nothing needs a copy any more
    pair.mprotect(1, BASE, 2, 0)
    pair.mprotect(1, BASE, 2, RW)
    pair.read(1, BASE + 1)
    pair.write(1, BASE + 1, 4)
    pair.read(0, BASE + 1)
    pair.check()
    pair.end()


def superpage_of_anonymous_memory(pair):
    first = (1 << 31) // PAGE
    pair.mmap(0, first, 512, RW, False, -1, 0, 0)
    for i in range(512):
        pair.write(0, first + i, i + 1)
    return first


def test_superpage_survives_fork_until_it_is_written():
    pair = Pair()
    pair.new(0)
    first = superpage_of_anonymous_memory(pair)
    pair.fork(0, 1)
    pair.read(1, first + 5)
    pair.check()
    assert pair.vm.resident(1) == 512
    pair.write(1, first + 7, 4000)
    pair.write(0, first + 9, 5000)
    for where in (0, 1):
        for i in (5, 7, 9, 511):
            pair.read(where, first + i)
    pair.check()
    pair.end()


def test_dirty_superpage_is_mapped_in_one_go():
    pair = Pair()
    pair.new(0)
    first = superpage_of_anonymous_memory(pair)
    pair.fork(0, 1)  # its pages are read-only now ...
    pair.exit(1)
    pair.mprotect(0, first, 512, 0)  # ... and now gone
    pair.mprotect(0, first, 512, RW)
    pair.write(0, first + 3, 9)
    pair.check()
    assert pair.vm.faults()["superpage"] == 1
    assert pair.vm.resident(0) == 512
    pair.end()


def records(pair, lock):
    return {row["site"]: row for row in read_profile(pair.vm.machine) if row["name"] == lock}


def test_fast_faults_take_the_page_lock_where_the_mapping_allows_writing():
    pair = Pair()
    pair.new(0)
    first = superpage_of_anonymous_memory(pair)
    pair.mprotect(0, first, 512, 0)
    pair.mprotect(0, first, 512, READ)
    pair.read(0, first)  # resident: the fast path
    pair.check()
    assert "vm_fault_dirty" not in records(pair, "vm page")
    pair.mprotect(0, first, 512, 0)
    pair.mprotect(0, first, 512, RW)
    pair.read(0, first)  # no write, but the mapping allows one
    pair.check()
    assert records(pair, "vm page")["vm_fault_dirty"]["acquisitions"] == 1
    assert pair.vm.faults()["fast"] + pair.vm.faults()["superpage"] == 2
    pair.end()


@pytest.mark.parametrize("cow", ["held", "unlocked"])
def test_the_backing_object_is_locked_while_its_page_is_copied(cow):
    pair = Pair(options=KernelOptions(cow=cow))
    pair.new(0)
    pair.mmap(0, BASE, 2, RW, False, -1, 0, 0)
    pair.write(0, BASE, 1)
    pair.fork(0, 1)
    pair.write(0, BASE, 2)
    pair.check()
    assert pair.vm.faults()["copy"] == 1
    copy_ps = round(CostModel().copy_4k * 1000)
    assert (records(pair, "vm object")["vm_fault/backing object"]["hold_max_ps"] >= copy_ps) == (
        cow == "held"
    )
    pair.end()
