"""Address spaces: fork, vfork, exec."""

from kernel.vm_model import PAGE
from kernel.vm_pair import BASE, RW, Pair


def test_fork_copies_on_write():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 4, RW, False, -1, 0, 0)
    for i in range(4):
        pair.write(0, BASE + i, 10 + i)
    pair.fork(0, 1)
    pair.write(1, BASE, 20)  # the child's copy
    pair.write(0, BASE + 1, 30)  # the parent's
    for where in (0, 1):
        for i in range(4):
            pair.read(where, BASE + i)
    pair.check()
    frames = [[pair.vm.do("frame", where, (BASE + i) * PAGE) for i in range(4)] for where in (0, 1)]
    assert [a == b for a, b in zip(*frames, strict=True)] == [False, False, True, True]
    pair.end()


def test_vfork_shares_until_exec():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 2, RW, False, -1, 0, 0)
    pair.vfork(0, 1)
    pair.write(1, BASE, 9)
    pair.read(0, BASE)
    pair.exec(1)
    pair.read(1, BASE)
    pair.read(0, BASE)
    pair.check()
    assert pair.expected == []
    pair.end()
