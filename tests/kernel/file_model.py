"""A file system as plain objects: what each call on a path answers."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

READ, WRITE, APPEND, CREAT, TRUNC, EXCL = 1, 2, 8, 0x200, 0x400, 0x800  # sys/fcntl.h
LINKS = 32
DIRENT = 40


class CallError(Exception):
    """A call fails with an error of errno.h."""


def fail(name: str) -> CallError:
    return CallError(-getattr(errno, name))


@dataclass(eq=False)
class Node:
    """A file; a directory has names, a symbolic link a path."""

    kind: str
    size: int = 0
    pages: set[int] = field(default_factory=set)
    names: dict[str, Node] = field(default_factory=dict)
    parent: Node | None = None  # of a directory; None: it has been removed
    target: str = ""


@dataclass
class Open:
    """An open file."""

    node: Node
    flags: int
    offset: int = 0
    listed: int = 0


class Model:
    """The calls, by their names in the door."""

    def __init__(self) -> None:
        self.root = Node("dir")
        self.root.parent = self.root
        self.cwd = self.root
        self.fds: dict[int, Open] = {}

    def call(self, name: str, *arguments: object) -> int:
        try:
            return getattr(self, name)(*arguments) or 0
        except CallError as error:
            return int(error.args[0])

    # --- paths

    def walk(self, path: str, op: str = "look", follow: bool = True) -> tuple[Node, str, Node | None]:
        """The directory that the path ends in, its last name, and what has it; for "look" something has it."""
        at, rest = self.root if path.startswith("/") else self.cwd, [x for x in path.split("/") if x]
        if not rest:
            if op != "look":
                raise fail("EEXIST" if op == "free" else "EISDIR")
            return at, "", at
        links = 0
        while True:
            name, *rest = rest
            if at.kind != "dir":
                raise fail("ENOTDIR")
            if name in (".", ".."):
                if not rest and op != "look":
                    raise fail("EEXIST" if op in ("free", "create") else "EINVAL")
                if name == ".." and at.parent is None:
                    raise fail("ENOENT")
                found: Node | None = at if name == "." else at.parent
            else:
                found = at.names.get(name)
                if found is None and (rest or op in ("look", "remove") or at.parent is None):
                    raise fail("ENOENT")
            if found is not None and found.kind == "link" and (rest or follow):
                links += 1
                if links > LINKS:
                    raise fail("ELOOP")
                steps = [x for x in found.target.split("/") if x]
                if len(steps) + len(rest) > 64:
                    raise fail("ENAMETOOLONG")
                rest = steps + rest
                if found.target.startswith("/"):
                    at = self.root
                if not rest:
                    if not found.target or op != "look":
                        raise fail("ENOENT" if not found.target else "EISDIR")
                    return at, "", at
                continue
            if not rest:
                return at, name, found
            assert found is not None
            at = found

    def find(self, path: str, follow: bool = True) -> Node:
        found = self.walk(path, "look", follow)[2]
        assert found is not None
        return found

    def free(self, path: str) -> tuple[Node, str]:
        at, name, found = self.walk(path, "free", False)
        if found is not None:
            raise fail("EEXIST")
        return at, name

    # --- calls on paths

    def stat(self, path: str, nofollow: int = 0) -> int:
        return self.size_of(self.find(path, not nofollow))

    @staticmethod
    def size_of(node: Node) -> int:
        return len(node.names) if node.kind == "dir" else node.size

    def setattr(self, path: str) -> None:
        self.find(path)

    def chdir(self, path: str) -> None:
        node = self.find(path)
        if node.kind != "dir":
            raise fail("ENOTDIR")
        self.cwd = node

    def truncate(self, path: str, size: int) -> None:
        node = self.find(path)
        if node.kind != "file":
            raise fail("EISDIR")
        self.resize(node, size)

    def mkdir(self, path: str) -> None:
        at, name = self.free(path)
        at.names[name] = Node("dir", parent=at)

    def symlink(self, target: str, path: str) -> None:
        at, name = self.free(path)
        at.names[name] = Node("link", target=target)

    def link(self, old: str, path: str) -> None:
        node = self.find(old)
        if node.kind == "dir":
            raise fail("EPERM")
        at, name = self.free(path)
        at.names[name] = node

    def unlink(self, path: str) -> None:
        at, name, node = self.walk(path, "remove", False)
        assert node is not None
        if node.kind == "dir":
            raise fail("EPERM")
        del at.names[name]

    def rmdir(self, path: str) -> None:
        at, name, node = self.walk(path, "remove", False)
        assert node is not None
        if node.kind != "dir":
            raise fail("ENOTDIR")
        if node.names:
            raise fail("ENOTEMPTY")
        del at.names[name]
        node.parent = None

    def rename(self, old: str, path: str) -> None:
        at, name, node = self.walk(old, "remove", False)
        to, new, there = self.walk(path, "rename", False)
        assert node is not None
        if node is to:
            raise fail("EINVAL")
        if there is at:
            raise fail("ENOTEMPTY")
        if there is node:
            return
        if there is not None:
            if node.kind == "dir" and there.kind != "dir":
                raise fail("ENOTDIR")
            if node.kind != "dir" and there.kind == "dir":
                raise fail("EISDIR")
            if there.names:
                raise fail("ENOTEMPTY")
        up = to
        while node.kind == "dir" and up is not self.root:
            if up is node:
                raise fail("EINVAL")
            assert up.parent is not None
            up = up.parent
        if there is not None:
            there.parent = None
        del at.names[name]
        to.names[new] = node
        if node.kind == "dir":
            node.parent = to

    # --- open files

    def open(self, path: str, fd: int, flags: int = READ) -> None:
        if flags & CREAT and [x for x in path.split("/") if x]:
            at, name, node = self.walk(path, "create", not flags & EXCL)
            if node is None:
                node = at.names[name] = Node("file")
            elif flags & EXCL:
                raise fail("EEXIST")
        else:
            node = self.find(path)
        if node.kind == "dir" and flags & WRITE:
            raise fail("EISDIR")
        if flags & TRUNC and flags & WRITE:
            self.resize(node, 0)
        self.fds[fd] = Open(node, flags)

    def close(self, fd: int) -> None:
        del self.fds[fd]

    def read(self, fd: int, size: int, offset: int = -1) -> int:
        file = self.fds[fd]
        if file.node.kind != "file":
            return 0
        at = file.offset if offset < 0 else offset
        got = max(0, min(size, file.node.size - at))
        if offset < 0:
            file.offset += got
        return got

    def write(self, fd: int, size: int, offset: int = -1) -> int:
        file = self.fds[fd]
        if file.node.kind != "file" or not file.flags & WRITE:
            return 0
        at = file.offset if offset < 0 else offset
        if file.flags & APPEND:
            at = file.node.size
        if size:
            file.node.size = max(file.node.size, at + size)
            file.node.pages |= set(range(at >> 12, (at + size - 1 >> 12) + 1))
        if offset < 0:
            file.offset = at + size
        return size

    def ftruncate(self, fd: int, size: int) -> None:
        file = self.fds[fd]
        if file.node.kind != "file" or not file.flags & WRITE:
            raise fail("EISDIR")
        self.resize(file.node, size)

    def fstat(self, fd: int) -> int:
        return self.size_of(self.fds[fd].node)

    def pages(self, fd: int) -> int:
        node = self.fds[fd].node
        return len(node.pages) if node.kind == "file" else -1

    @staticmethod
    def resize(node: Node, size: int) -> None:
        node.size = size
        node.pages = {page for page in node.pages if page << 12 < size}

    # --- all of it

    def tree(self, node: Node | None = None) -> dict[str, object]:
        names = (node or self.root).names
        return {
            name: self.tree(at) if at.kind == "dir" else at.target if at.kind == "link" else at.size
            for name, at in names.items()
        }

    def in_use(self) -> dict[str, int]:
        """What must be there: nodes, names, files, objects, pages."""
        nodes = {self.root, self.cwd} | {file.node for file in self.fds.values()}
        dirents, todo = 0, [self.root]
        while todo:
            names = todo.pop().names
            dirents += len(names)
            nodes |= set(names.values())
            todo += [node for node in names.values() if node.kind == "dir"]
        files = [node for node in nodes if node.kind == "file"]
        return {
            "nodes": len(nodes),
            "dirents": dirents,
            "files": len(self.fds),
            "objects": len(files),
            "pages": sum(len(node.pages) for node in files),
        }
