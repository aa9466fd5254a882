"""What programs may do and see in their address spaces, in plain Python: no objects, no sharing, only values."""

from dataclasses import dataclass, field

READ, WRITE, EXEC = 1, 2, 4
PAGE = 4096
FILE_PAGES = 1100


@dataclass
class Mapping:
    """One page of an address space."""

    prot: int
    store: dict | None  # shared memory or a file: index -> value; None: private anonymous memory
    index: int
    private: bool
    file: int = -1
    own: int | None = None  # a private page's value once it has one

    def read(self):
        if self.own is not None:
            return self.own
        return self.store.get(self.index, 0) if self.store is not None else 0


@dataclass
class Space:
    pages: dict = field(default_factory=dict)


class Model:
    def __init__(self):
        self.files = [{} for _ in range(4)]
        self.spaces = {}

    def mmap(self, space, start, pages, prot, shared, file, offset):
        store = {} if shared and file < 0 else self.files[file] if file >= 0 else None
        for i in range(pages):
            self.spaces[space].pages[start + i] = Mapping(prot, store, offset + i, not shared, file)

    def munmap(self, space, start, pages):
        for page in range(start, start + pages):
            self.spaces[space].pages.pop(page, None)

    def mprotect(self, space, start, pages, prot):
        for page in range(start, start + pages):
            if page in self.spaces[space].pages:
                self.spaces[space].pages[page].prot = prot

    def _beyond(self, m):
        return m.file >= 0 and m.index >= FILE_PAGES

    def read(self, space, page):
        m = self.spaces[space].pages.get(page)
        return -1 if m is None or not m.prot & READ or self._beyond(m) else m.read()

    def write(self, space, page, value):
        m = self.spaces[space].pages.get(page)
        if m is None or not m.prot & WRITE or self._beyond(m):
            return -1
        if m.private:
            m.own = value
        else:
            m.store[m.index] = value
        return 0

    def fork(self, space, child):
        copy = Space()
        for page, m in self.spaces[space].pages.items():
            copy.pages[page] = Mapping(m.prot, m.store, m.index, m.private, m.file, m.own)
        self.spaces[child] = copy

    def layout(self, space):
        """For each page: protection, file, page in the file, shared."""
        return {
            page: (m.prot, m.file, m.index if m.file >= 0 else 0, not m.private)
            for page, m in self.spaces[space].pages.items()
        }
