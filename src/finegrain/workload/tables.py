"""Tables of descriptors: what each descriptor of a process is."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(eq=False)
class OpenFile:
    """An open file, as all descriptors that were copied from one another share it."""

    path: str | None  # None: not known
    append: bool = False
    offset: int = 0  # where the next read or write begins, in bytes
    descriptors: int = 0  # of all processes


Thing = tuple[int, int] | OpenFile  # a pipe and its end, or a file
OTHER: tuple[int, int] = (-1, 0)  # what is neither


@dataclass
class Table:
    """The descriptors of a process, which of them exec closes, and the current directory (None: not known)."""

    of: dict[int, Thing]
    cloexec: set[int] = field(default_factory=set)
    directory: str | None = None

    def copy(self) -> "Table":
        """Return a child's table: it has the same descriptors."""
        for thing in self.of.values():
            if isinstance(thing, OpenFile):
                thing.descriptors += 1
        return Table(dict(self.of), set(self.cloexec), self.directory)

    def lowest(self) -> int:
        """Return the lowest descriptor that is free."""
        fd = 0
        while fd in self.of:
            fd += 1
        return fd

    def put(self, fd: int, thing: Thing, cloexec: bool) -> Iterator[Thing]:
        """Make fd a descriptor of `thing`; yield what it was before, as drop() does."""
        if isinstance(thing, OpenFile):
            thing.descriptors += 1
        if self.of.get(fd) != thing or isinstance(thing, OpenFile):
            yield from self.drop(fd)
        self.of[fd] = thing
        (self.cloexec.add if cloexec else self.cloexec.discard)(fd)

    def drop(self, fd: int) -> Iterator[Thing]:
        """Close fd; yield the end of a pipe of which it was the process's last, or the file that has none any more."""
        thing = self.of.pop(fd, OTHER)
        self.cloexec.discard(fd)
        if isinstance(thing, OpenFile):
            thing.descriptors -= 1
            if thing.descriptors == 0:
                yield thing
        elif thing != OTHER and thing not in self.of.values():
            yield thing

    def file(self, fd: int) -> OpenFile | None:
        """Return the file that fd is a descriptor of, if it is."""
        thing = self.of.get(fd)
        return thing if isinstance(thing, OpenFile) else None
