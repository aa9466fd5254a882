"""Makes rows of file calls: which path each is about, where in the file, how it ended."""

from collections.abc import Sequence
from typing import Protocol

import polars as pl

from finegrain.workload import recording as rec
from finegrain.workload import syscalls as sc
from finegrain.workload.names import Names, absolute, with_parents
from finegrain.workload.syscalls import FILE_CALLS
from finegrain.workload.tables import OpenFile, Table

NEEDED = ["name", *dict.fromkeys(what for call in FILE_CALLS.values() for what in (call.enter, call.exit))]
SCHEMA = {
    "row": pl.UInt32,
    "process": pl.UInt32,
    "thread": pl.UInt32,
    "time": pl.Int64,
    "kind": pl.UInt8,
    "page": pl.UInt64,
    "pages": pl.UInt64,
    "offset": pl.UInt64,
    "info": pl.UInt32,
    "path": pl.UInt32,
    "path2": pl.UInt32,
    "error": pl.UInt16,
}
# calls whose rows are of one kind, whatever their arguments
_KINDS = {
    **dict.fromkeys(("open", "openat", "openat2", "creat"), rec.FILE_OPEN),
    **dict.fromkeys(("stat", "lstat", "newfstatat", "statx"), rec.FILE_STAT),
    "fstat": rec.FILE_FSTAT,
    **dict.fromkeys(("access", "faccessat", "faccessat2"), rec.FILE_ACCESS),
    **dict.fromkeys(("readlink", "readlinkat"), rec.FILE_READLINK),
    **dict.fromkeys(("unlink", "unlinkat"), rec.FILE_UNLINK),
    "rmdir": rec.FILE_RMDIR,
    **dict.fromkeys(("rename", "renameat", "renameat2"), rec.FILE_RENAME),
    **dict.fromkeys(("mkdir", "mkdirat"), rec.FILE_MKDIR),
    **dict.fromkeys(("symlink", "symlinkat"), rec.FILE_SYMLINK),
    **dict.fromkeys(("link", "linkat"), rec.FILE_LINK),
    **dict.fromkeys(("truncate", "ftruncate"), rec.FILE_TRUNCATE),
    "getdents": rec.FILE_GETDENTS,
    **dict.fromkeys(("chdir", "fchdir"), rec.FILE_CHDIR),
    **dict.fromkeys(
        (
            "chmod",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "lchown",
            "fchown",
            "fchownat",
            "utimes",
            "utimensat",
        ),
        rec.FILE_SETATTR,
    ),
    **dict.fromkeys(("execve", "execveat"), rec.FILE_EXEC),
}
# calls that are about the file of their first argument, a descriptor
# what calls took is kept as multiples of this: a tenth of a recording's bytes would go for the digit below
_TOOK_NS = 1000
_BY_DESCRIPTOR = ("fstat", "ftruncate", "getdents", "fchdir", "fchmod", "fchown")

At = tuple[int, int, int, int]  # row, process, thread, time


class Entered(Protocol):
    """What is known of a call from its entry."""

    row: int
    time: int
    since: int
    args: tuple[int, int, int, int, int]
    names: list[str | None]


class FileCalls:
    """Takes file calls as they end, with the caller's table, and makes rows."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self.names = Names()
        self.rows: list[tuple[int, ...]] = []
        self._paths: dict[str, int] = {}  # in order of first use, from 1 on
        self._sizes: dict[str, int] = {}  # of files, as far as seen: where appending begins

    def add(
        self, at: At, kind: int, *, page: int = 0, pages: int = 0, offset: int = 0, info: int = 0,
        path: str | None = None, path2: str | None = None, error: int = 0,
    ) -> None:  # fmt: skip
        """Add a row."""
        row = (*at, kind, page, pages, offset, info, self._number(path), self._number(path2), error)
        self.rows.append(row)

    def _number(self, path: str | None) -> int:
        return 0 if path is None else self._paths.setdefault(path, len(self._paths) + 1)

    def close(self, at: At, file: OpenFile) -> None:
        """The last descriptor of a file is gone."""
        self.add(at, rec.FILE_CLOSE, path=file.path)

    def _base(self, table: Table, directory: int) -> str | None:
        """Return the path of a directory's descriptor, or of the current directory."""
        if directory & 0xFFFFFFFF == sc.AT_FDCWD:
            return table.directory
        file = table.file(directory & 0xFFFFFFFF)
        return file.path if file is not None else None

    def _resolve(self, table: Table, what: str, entered: Entered) -> tuple[list[str | None], bool]:
        """Return the paths that a call is about, and whether it is about a descriptor's file, without a lookup."""
        args = entered.args
        if what in _BY_DESCRIPTOR:
            return [self._base(table, args[0])], True
        call = FILE_CALLS[what]
        paths = []
        by_descriptor = False
        for (directory, place), name in zip(call.names, entered.names, strict=False):
            base = table.directory if directory is None else self._base(table, args[directory])
            empty = name == "" and call.flags is not None and args[call.flags] & sc.AT_EMPTY_PATH
            no_name = not args[place] and what == "utimensat"
            if directory is not None and (empty or no_name):
                by_descriptor = True
                paths.append(base)
            else:
                paths.append(absolute(name, base))
        if what.startswith("symlink"):  # the text of the link, as if looked up from where the link is
            link = paths[0]
            paths[1] = absolute(entered.names[1], link.rpartition("/")[0] or "/" if link else None)
        return paths, by_descriptor

    def call(
        self, at: At, table: Table, what: str, entered: Entered, value: int, error: int
    ) -> tuple[int, OpenFile, bool] | None:
        """Take the end of a call; of one that opened a file, return the descriptor, the file and close-on-exec."""
        took = (max(0, at[3] - entered.since) + _TOOK_NS // 2) // _TOOK_NS * (_TOOK_NS // rec.TIME_UNIT_NS)
        args = entered.args
        if what in ("read", "write", "pread", "pwrite"):
            if not error:
                position = args[3] if what.startswith("p") else None
                self._transfer(at, table, args[0] & 0xFFFFFFFF, what.lstrip("p"), position, value, took)
            return None
        if what in ("sendfile", "copy_file_range"):
            if not error and value:
                read, written = (args[1], args[0]) if what == "sendfile" else (args[0], args[2])
                self._transfer(at, table, read & 0xFFFFFFFF, "read", None, value, took, piped=False)
                self._transfer(at, table, written & 0xFFFFFFFF, "write", None, value, 0, piped=False)
            return None
        if what == "lseek":
            file = table.file(args[0] & 0xFFFFFFFF)
            if file is not None and not error:
                file.offset = value
            return None
        paths, by_descriptor = self._resolve(table, what, entered)
        if by_descriptor and table.file(args[0] & 0xFFFFFFFF) is None:
            return None  # a pipe, a terminal, or the like
        self._other(at, what, entered, paths, by_descriptor, value, took, error)
        if error:
            return None
        path = paths[0]
        if what in ("chdir", "fchdir"):
            table.directory = path
        elif what == "rename" or what.startswith("renameat"):
            self._moved(path, paths[1])
        elif what in ("truncate", "ftruncate"):
            self._resized(path, args[1])
        elif _KINDS[what] == rec.FILE_OPEN:
            flags = self._open_flags(what, args)
            if flags & sc.O_TRUNC:
                self._resized(path, 0)
            return value, OpenFile(path, bool(flags & sc.O_APPEND)), bool(flags & sc.O_CLOEXEC)
        return None

    def _open_flags(self, what: str, args: Sequence[int]) -> int:
        call = FILE_CALLS[what]
        if what == "creat":
            return sc.O_CREAT | sc.O_TRUNC | 1
        if call.flags is None:  # openat2 has them in memory
            return sc.O_CLOEXEC
        return args[call.flags] & 0xFFFFFFFF

    def _other(
        self, at: At, what: str, entered: Entered, paths: list[str | None], by_descriptor: bool, value: int,
        took: int, error: int,
    ) -> None:  # fmt: skip
        """Add the row of a call that neither reads nor writes."""
        kind, args = _KINDS[what], entered.args
        info = pages = 0
        if kind == rec.FILE_OPEN:
            info = self._open_flags(what, args)
        elif kind == rec.FILE_STAT and by_descriptor:
            kind = rec.FILE_FSTAT
        elif what == "unlinkat" and args[2] & sc.AT_REMOVEDIR:
            kind = rec.FILE_RMDIR
        elif kind == rec.FILE_GETDENTS:
            pages = 0 if error else value
        elif kind == rec.FILE_TRUNCATE:
            pages = args[1]
        elif kind == rec.FILE_SETATTR:
            info = int(by_descriptor or what in _BY_DESCRIPTOR)
        elif kind == rec.FILE_EXEC:  # stands where the call began: the program that called ends there
            at, took = (entered.row, *at[1:3], entered.time), 0
        elif what == "fchdir":
            info = 1
        path2 = paths[1] if len(paths) > 1 else None
        self.add(at, kind, pages=pages, offset=took, info=info, path=paths[0], path2=path2, error=error)

    def _transfer(
        self, at: At, table: Table, fd: int, way: str, position: int | None, count: int, took: int,
        piped: bool = True,
    ) -> None:  # fmt: skip
        """Add the row of a read or write of `count` bytes, at the descriptor's offset or at `position`."""
        thing = table.of.get(fd, (-1, 0))
        writes = way == "write"
        if isinstance(thing, OpenFile):
            if writes and thing.append and position is None:
                thing.offset = self._sizes.get(thing.path or "", 0)
            begin = thing.offset if position is None else position
            if position is None:
                thing.offset += count
            if writes and thing.path is not None:
                self._sizes[thing.path] = max(self._sizes.get(thing.path, 0), begin + count)
            kind = rec.FILE_WRITE if writes else rec.FILE_READ
            self.add(at, kind, page=begin, pages=count, offset=took, path=thing.path)
            return
        pipe, end = thing
        if piped and pipe >= 0 and end == writes and (count or not writes):
            self.add(at, rec.WRITE if writes else rec.READ, pages=count, offset=took, info=pipe)

    def _resized(self, path: str | None, size: int) -> None:
        if path is not None:
            self._sizes[path] = size

    def _moved(self, old: str | None, new: str | None) -> None:
        if old is not None and new is not None and old in self._sizes:
            self._sizes[new] = self._sizes.pop(old)

    def result(self, files: bool) -> tuple[pl.DataFrame, list[str]]:
        """Return the rows (SCHEMA), those of pipes alone without `files`, and the paths that they number from 1 on."""
        rows = pl.DataFrame(self.rows, schema=SCHEMA, orient="row")
        if not files:
            return rows.filter(pl.col("kind") < rec.FILE_OPEN), []
        paths = with_parents(set(self._paths))
        number = {path: i for i, path in enumerate(paths, 1)}
        renumber = pl.Series([0, *(number[path] for path in self._paths)], dtype=pl.UInt32)
        return rows.with_columns(renumber.gather(rows[name]).alias(name) for name in ("path", "path2")), paths
