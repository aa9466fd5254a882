"""Shadow chains: how long they grow, and when they are collapsed or bypassed."""

from kernel.vm_model import PAGE
from kernel.vm_pair import BASE, RW, Pair


def test_chain_is_collapsed_when_the_child_has_gone():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 8, RW, False, -1, 0, 0)
    for generation in range(5):
        for i in range(8):
            pair.write(0, BASE + i, 100 * generation + i)
        pair.fork(0, 1)
        pair.write(0, BASE, 7)  # makes a shadow in the parent
        pair.write(1, BASE + 1, 8)  # and in the child
        pair.exit(1)
    pair.check()
    (chain,) = [pair.vm.chain(0, BASE * PAGE)]
    assert chain == [(1, 8, 8)]
    pair.end()


def test_chain_grows_only_while_somebody_needs_it():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 8, RW, False, -1, 0, 0)
    for child in range(1, 4):
        for i in range(8):
            pair.write(0, BASE + i, 10 * child + i)
        pair.fork(0, child)
    pair.check()
    # the parent's writes hid all of what is behind its own object, so that it was bypassed at the next fork
    assert len(pair.vm.chain(0, BASE * PAGE)) <= 2
    pair.end()


def test_bypass_adds_offsets():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 8, RW, True, 0, 4, 0)
    for i in range(8):
        pair.write(0, BASE + i, 50 + i)
    pair.mmap(0, BASE, 8, RW, False, 0, 4, 0)  # private now: file pages 4 to 11
    pair.write(0, BASE + 2, 1)
    pair.fork(0, 1)
    pair.munmap(0, BASE, 2)
    pair.munmap(0, BASE + 4, 4)
    pair.write(0, BASE + 2, 2)  # in a shadow at an offset in the first one, itself at an offset in the file
    pair.mprotect(0, BASE + 2, 2, 0)
    pair.fork(0, 2)  # hides all that it sees of the first shadow: bypassed
    pair.mprotect(0, BASE + 2, 2, RW)
    for where in (0, 1, 2):
        for i in range(8):
            pair.read(where, BASE + i)
    pair.check()
    assert pair.vm.entries(0)[0][3:5] == (0, 6)
    pair.end()
