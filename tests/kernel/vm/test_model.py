"""The VM against a plain model: what is mapped, who may do what, and who sees which contents."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.lab import AddressSpaces
from finegrain.machine.simulated import SimulatedMachine
from kernel.vm_model import EXEC, FILE_PAGES, PAGE, READ, WRITE, Model, Space

BASE = (1 << 30) // PAGE - 7  # the pages in play lie across a border of 2 MB
PAGES = 14
SPACES = 3
RW = READ | WRITE


def make_vm(**options):
    machine = SimulatedMachine(sockets=1, cores=2, threads=1, memory=64 << 20, seed=1)
    return AddressSpaces(machine, files=[FILE_PAGES] * 4, **options)


class Pair:
    """The VM and the model, given the same operations."""

    def __init__(self, **options):
        self.vm, self.model = make_vm(**options), Model()
        self.ops, self.expected = [("fill",)], [0]

    def do(self, expected, *op):
        self.ops.append(op)
        self.expected.append(expected)

    def new(self, space):
        self.model.spaces[space] = Space()
        self.do(0, "new", space)

    def mmap(self, space, start, pages, prot, shared, file, offset, premap):
        self.model.mmap(space, start, pages, prot, shared, file, offset)
        where = (start * PAGE, (start + pages) * PAGE)
        self.do(0, "mmap", space, *where, prot, file, offset, shared, False, premap)

    def munmap(self, space, start, pages):
        self.model.munmap(space, start, pages)
        self.do(0, "munmap", space, start * PAGE, (start + pages) * PAGE)

    def mprotect(self, space, start, pages, prot):
        self.model.mprotect(space, start, pages, prot)
        self.do(0, "mprotect", space, start * PAGE, (start + pages) * PAGE, prot)

    def read(self, space, page):
        self.do(self.model.read(space, page), "read", space, page * PAGE)

    def write(self, space, page, value):
        self.do(self.model.write(space, page, value), "write", space, page * PAGE, value)

    def fork(self, space, child):
        self.model.fork(space, child)
        self.do(0, "fork", space, child)

    def vfork(self, space, child):
        self.model.spaces[child] = self.model.spaces[space]
        self.do(0, "vfork", space, child)

    def exec(self, space):
        self.model.spaces[space] = Space()
        self.do(0, "exec", space)

    def exit(self, space):
        del self.model.spaces[space]
        self.do(0, "exit", space)

    def check(self):
        """Run what has been asked for; then everything must be as the model says, and in order."""
        assert self.vm.run(*self.ops) == self.expected
        self.ops, self.expected = [], []
        assert self.vm.audit() == ""
        for space in self.model.spaces:
            found = {}
            for start, end, prot, file, offset, shared, _ in self.vm.entries(space):
                for page in range(start // PAGE, end // PAGE):
                    found[page] = (prot, file, offset + page - start // PAGE if file >= 0 else 0, shared)
            layout = self.model.layout(space)
            for page, (_, file, _, shared) in found.items():
                if file < 0 and not shared and page in layout:  # all copied: the file is no longer behind it
                    layout[page] = (layout[page][0], -1, 0, False)
            assert found == layout

    def end(self):
        """Let everything go: nothing may be left."""
        for space in list(self.model.spaces):
            self.exit(space)
        self.do(0, "empty")
        self.check()
        assert self.vm.in_use() == dict.fromkeys(("objects", "maps", "entries", "chunks", "pages"), 0)


space = st.integers(0, SPACES - 1)
page = st.integers(0, PAGES - 1)
length = st.integers(1, 14)
prot = st.sampled_from([0, READ, RW, READ | EXEC])
operation = st.one_of(
    st.tuples(
        st.just("mmap"),
        space,
        page,
        length,
        st.sampled_from([READ, RW, RW]),
        st.booleans(),
        st.integers(-2, 1),
        st.sampled_from([0, 7, 1094]),
        st.integers(0, 2),
    ),
    st.tuples(st.just("munmap"), space, page, length),
    *[st.tuples(st.just("mprotect"), space, page, length, prot)] * 2,
    st.tuples(st.just("fork"), space, space),
    st.tuples(st.just("vfork"), space, space),
    st.tuples(st.sampled_from(["exit", "exec"]), space),
    *[st.tuples(st.just("read"), space, page), st.tuples(st.just("write"), space, page)] * 3,
)


def play(pair, operations):
    """Give the pair those of the operations that make sense."""
    pair.new(0)
    for file in range(2):  # so that no two pages of the files look alike
        pair.mmap(0, BASE, 40, RW, True, file, 0, 0)
        for i in range(0, 40, 3):
            pair.write(0, BASE + i, 100 * file + i + 1)
    pair.munmap(0, BASE, 40)
    value = 1000
    for name, where, *rest in operations:
        if where not in pair.model.spaces:
            continue
        if name in ("fork", "vfork"):
            if rest[0] not in pair.model.spaces:
                getattr(pair, name)(where, rest[0])
        elif name in ("exit", "exec"):
            getattr(pair, name)(where)
        elif name == "mmap":
            start, pages, how, shared, file, offset, premap = rest
            file = max(file, -1)
            if file < 0:
                offset, premap = 0, 0
            pair.mmap(where, BASE + start, pages, how, shared, file, offset, premap)
        elif name == "write":
            value += 1
            pair.write(where, BASE + rest[0], value)
        else:
            getattr(pair, name)(where, BASE + rest[0], *rest[1:])
    for where in pair.model.spaces:
        for i in range(PAGES):
            pair.read(where, BASE + i)


@settings(max_examples=300, deadline=None)
@given(st.lists(operation, max_size=80), st.sampled_from(["head", "superpage", "superpage+batch"]))
def test_any_operations(operations, design):
    pair = Pair(design=design)
    play(pair, operations)
    pair.check()
    pair.end()


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


@pytest.mark.parametrize(("premap", "mapped"), [(0, 0), (1, 96), (2, 1000)])
def test_premap(premap, mapped):
    pair = Pair()
    pair.new(0)
    pair.mmap(0, BASE, 1000, READ | EXEC, False, 0, 0, premap)
    pair.check()
    assert pair.vm.resident(0) == mapped
    pair.end()


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
