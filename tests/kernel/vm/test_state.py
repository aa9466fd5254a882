"""What the VM counts: how faults were settled, and what is alive."""

from kernel.vm_pair import BASE, RW, Pair


def settled(pair, *accesses):
    """The kinds of faults that these accesses took."""
    before = pair.vm.faults()
    for access in accesses:
        getattr(pair, access[0])(*access[1:])
    pair.check()
    return {kind: n - before[kind] for kind, n in pair.vm.faults().items() if n != before[kind]}


def test_faults_are_counted_by_how_they_were_settled():
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 4, RW, False, -1, 0, 0)
    assert settled(pair, ("write", 0, BASE, 1)) == {"zero": 1}
    pair.fork(0, 1)
    assert settled(pair, ("write", 1, BASE, 2)) == {"copy": 1}
    assert settled(pair, ("read", 1, BASE + 9)) == {"bad": 1}
    pair.end()


def test_what_is_alive_is_counted():
    pair = Pair()
    pair.check()
    empty = pair.vm.in_use()
    pair.new(0)
    pair.mmap(0, BASE, 4, RW, False, -1, 0, 0)
    pair.write(0, BASE, 1)
    pair.check()
    now = pair.vm.in_use()
    assert [now[name] - empty[name] for name in ("objects", "maps", "entries", "chunks")] == [1, 1, 1, 1]
    pair.end()
