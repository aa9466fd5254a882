"""Address-space maps: premapping, stacks, unmapping in part."""

import pytest

from kernel.vm_model import EXEC, PAGE, READ
from kernel.vm_pair import BASE, RW, Pair


@pytest.mark.parametrize(("premap", "mapped"), [(0, 0), (1, 96), (2, 1000)])
def test_premap(premap, mapped):
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 1000, READ | EXEC, False, 0, 0, premap)
    pair.check()
    assert pair.vm.resident(0) == mapped
    pair.end()


def test_stack_grows_by_128_kb():
    pair = Pair()
    pair.new(0)
    top = BASE + 1000
    pair.do(0, "mmap", 0, (top - 500) * PAGE, top * PAGE, RW, -1, 0, False, True)
    pair.do(0, "write", 0, (top - 1) * PAGE, 5)
    pair.do(0, "write", 0, (top - 33) * PAGE, 6)
    pair.do(6, "read", 0, (top - 33) * PAGE)
    assert pair.vm.run(*pair.ops) == pair.expected
    assert [(start // PAGE - top, end // PAGE - top) for start, end, *_ in pair.vm.entries(0)] == [
        (-64, -32),
        (-32, 0),
    ]
    # nothing grows where no stack is above
    assert pair.vm.run(("write", 0, (top + 5) * PAGE, 1), ("exit", 0), ("empty",)) == [-1, 0, 0]
    assert pair.vm.audit() == ""


def test_partial_unmap_frees_memory():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 32, RW, False, -1, 0, 0)
    for i in range(32):
        pair.write(0, BASE + i, i)
    pair.check()
    before = pair.vm.in_use()["pages"]
    pair.munmap(0, BASE + 8, 16)
    pair.check()
    assert pair.vm.in_use()["pages"] == before - 16
    pair.end()
