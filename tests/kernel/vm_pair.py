"""The VM and a plain model of it, given the same operations."""

from finegrain.lab import AddressSpaces
from finegrain.machine.simulated import SimulatedMachine
from kernel.vm_model import FILE_PAGES, PAGE, READ, WRITE, Model, Space

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
