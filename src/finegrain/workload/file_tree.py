"""Which files there are at each time of a recording, as far as its calls tell."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from finegrain.workload import recording as rec
from finegrain.workload.recording import Recording
from finegrain.workload.syscalls import O_CREAT, O_TRUNC

GONE: Final = -1  # of a Tree's bytes: there is no such file
DIRECTORY: Final = -2
# Linux's errors (asm-generic/errno-base.h)
ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY = 2, 17, 20, 21, 39
_FROM_START = -1  # the time of what is there from the start, ns
# What lies here is no file of a tmpfs: nothing is read, written or looked up there.
_OTHER_FILE_SYSTEMS = ("/dev", "/proc", "/sys")
# One tree in a system whose /usr is merged: the same directory under two names.
_MERGED = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
_COMPONENTS = 60  # of a path that a replay looks up, at most (kernel/vfs PATH_COMPONENTS, less a link's)


@dataclass(frozen=True)
class Paths:
    """The paths that steps name, each after its directory; 0 is the root."""

    names: list[str] = field(repr=False)
    parent: npt.NDArray[np.int32] = field(repr=False)
    # by path of the recording (its index + 1; 0: not known): the path here, -1 where a replay has none
    of_recording: list[int] = field(repr=False)
    # of each file that is mapped, by its own name, likewise
    of_files: dict[str, int] = field(repr=False)


def _under(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")


def paths_of(recording: Recording) -> Paths:
    """Number the paths of `recording` that a replay looks up."""
    merged = tuple(
        name for name in _MERGED if any(_under(file, f"/usr{name}") for file in recording.files)
        and not any(_under(file, name) for file in recording.files)
    )  # fmt: skip
    number: dict[str, int] = {"/": 0}
    parent = [0]
    of_recording = [-1]
    for path in [*recording.paths, *(file for file in recording.files if file.startswith("/"))]:
        if any(_under(path, other) for other in _OTHER_FILE_SYSTEMS) or path.count("/") > _COMPONENTS:
            of_recording.append(-1)
            continue
        name = f"/usr{path}" if any(_under(path, other) for other in merged) else path
        missing = []
        while name not in number:
            missing.append(name)
            name = name.rpartition("/")[0] or "/"
        for above in reversed(missing):
            parent.append(number[above.rpartition("/")[0] or "/"])
            number[above] = len(number)
        of_recording.append(number[missing[0]] if missing else number[name])
    own = len(recording.paths) + 1
    mapped = (file for file in recording.files if file.startswith("/"))
    of_files = dict(zip(mapped, of_recording[own:], strict=True))
    return Paths(list(number), np.array(parent, np.int32), of_recording[:own], of_files)


@dataclass(frozen=True)
class Tree:
    """What becomes of each path, in order of time: a regular file's bytes, DIRECTORY or GONE."""

    time: npt.NDArray[np.int64]  # recording time, ns; negative: there from the start
    path: npt.NDArray[np.int32]
    bytes: npt.NDArray[np.int64]


class _Follower:
    """Takes the calls in order of time and says what they show to be there."""

    def __init__(self, paths: Paths) -> None:
        self._last = [name.rpartition("/")[2] for name in paths.names]
        self.parent = paths.parent.tolist()
        self.first: dict[int, int] = {0: DIRECTORY}  # there from the start: bytes or DIRECTORY
        self.now: dict[int, int] = {0: DIRECTORY}  # what is known; GONE
        self.changed: set[int] = set()  # what is in the log
        self.log: list[tuple[int, int, int]] = []
        self.below: defaultdict[int, list[int]] = defaultdict(list)
        for path, above in enumerate(self.parent[1:], 1):
            self.below[above].append(path)

    def put(self, time: int, path: int, what: int) -> None:
        """From now on this is so."""
        if path and self.now.get(path) != what:
            if self.now.get(path) == DIRECTORY:
                for inside in self.below[path]:
                    if self.now.get(inside, GONE) != GONE:
                        self.put(time, inside, GONE)
            self.now[path] = what
            self.changed.add(path)
            self.log.append((time, path, what))

    def _since_start(self, path: int) -> bool:
        """Say whether it has been there, and been the same, from the start until now."""
        return path in self.first and path not in self.changed

    def is_there(self, time: int, path: int, what: int) -> None:
        """A call shows that it is there: a file of so many bytes at least, or a directory."""
        known = self.now.get(path)
        if known is None:
            self.is_there(time, self.parent[path], DIRECTORY)
            self.now[path] = what
            if self._since_start(self.parent[path]):
                self.first[path] = what
            else:
                self.changed.add(path)
                self.log.append((time, path, what))
        elif known == GONE or (what == DIRECTORY) != (known == DIRECTORY):
            if what == DIRECTORY or known == GONE:
                self.is_there(time, self.parent[path], DIRECTORY)
                if self._since_start(path):
                    self.first[path] = self.now[path] = what  # taken for a file, from the start on
                else:
                    self.put(time, path, what)
        elif what > known:
            if self._since_start(path):  # nobody has written to it: it has been that long
                self.first[path] = self.now[path] = what
            else:
                self.put(time, path, what)

    def is_not_there(self, time: int, path: int) -> None:
        """A call shows that it is not there."""
        if path not in self.now:
            self.now[path] = GONE

    def make(self, time: int, path: int, what: int) -> None:
        """A call makes it."""
        self.is_there(time, self.parent[path], DIRECTORY)
        self.put(time, path, what)

    def remove(self, time: int, path: int) -> None:
        """A call takes it away, with all in it."""
        if path not in self.now:
            self.is_there(time, path, 0)
        self.put(time, path, GONE)

    def _inside(self, path: int, other: int) -> bool:
        while path and path != other:
            path = self.parent[path]
        return path == other

    def _contents(self, old: int, new: int) -> list[tuple[int, int]]:
        """Return what is below `old`, by the paths that it has below `new`; a path that no call names is left out."""
        named = {self._last[path]: path for path in self.below[new]}
        found: list[tuple[int, int]] = []
        for path in self.below[old]:
            if self.now.get(path, GONE) != GONE and self._last[path] in named:
                to = named[self._last[path]]
                found += [(to, self.now[path]), *self._contents(path, to)]
        return found

    def move(self, time: int, old: int, new: int) -> None:
        """A call gives it another name, with all in it."""
        if self._inside(old, new) or self._inside(new, old):
            return
        if self.now.get(old, GONE) == GONE:
            self.is_there(time, old, 0)
        what, contents = self.now[old], self._contents(old, new)
        self.remove(time, old)
        self.make(time, new, what)
        for path, inside in contents:
            self.put(time, path, inside)


def _follow(follower: _Follower, row: tuple[int, ...]) -> None:
    """Take one call: time, kind, page, pages, info, path, path2, error."""
    time, kind, page, pages, info, path, path2, error = row
    if error:
        if error == ENOENT and kind not in (rec.FILE_RENAME, rec.FILE_LINK, rec.FILE_SYMLINK):
            follower.is_not_there(time, path)
        elif error in (EEXIST, EISDIR, ENOTEMPTY):
            is_directory = kind in (rec.FILE_MKDIR, rec.FILE_RMDIR) or error != EEXIST
            follower.is_there(time, path, DIRECTORY if is_directory else 0)
    elif kind == rec.FILE_OPEN and info & O_CREAT:
        if follower.now.get(path, GONE) in (GONE, DIRECTORY):
            follower.make(time, path, 0)
        elif info & O_TRUNC:
            follower.put(time, path, 0)
    elif kind == rec.FILE_OPEN and info & O_TRUNC:
        follower.is_there(time, path, 0)
        follower.put(time, path, 0)
    elif kind in (rec.FILE_MKDIR, rec.FILE_SYMLINK):
        follower.make(time, path, DIRECTORY if kind == rec.FILE_MKDIR else 0)
    elif kind in (rec.FILE_UNLINK, rec.FILE_RMDIR):
        follower.is_there(time, path, DIRECTORY if kind == rec.FILE_RMDIR else 0)
        follower.remove(time, path)
    elif kind == rec.FILE_RENAME and path2 >= 0:
        follower.move(time, path, path2)
    elif kind == rec.FILE_LINK and path2 >= 0:
        follower.is_there(time, path, 0)
        follower.make(time, path2, max(0, follower.now[path]))
    elif kind == rec.FILE_TRUNCATE:
        follower.is_there(time, path, 0)
        follower.put(time, path, pages)
    elif kind in (rec.FILE_GETDENTS, rec.FILE_CHDIR):
        follower.is_there(time, path, DIRECTORY)
    elif kind == rec.FILE_READ:
        follower.is_there(time, path, page + pages)
    elif kind == rec.FILE_WRITE:
        follower.is_there(time, path, 0)
        if 0 <= follower.now.get(path, GONE) < page + pages:
            follower.put(time, path, page + pages)
    elif kind not in (rec.FILE_CLOSE, rec.FILE_RENAME, rec.FILE_LINK):
        follower.is_there(time, path, 0)


def _first_maps(recording: Recording, file_path: list[int]) -> pl.DataFrame:
    """Return the time of the first mapping of each path of which a file is mapped."""
    files = pl.DataFrame(
        {"file": range(1, len(file_path) + 1), "number": file_path},
        schema={"file": recording.events.schema["file"], "number": pl.Int64()},
    )
    maps = recording.events.filter((pl.col("kind") == rec.MAP) & (pl.col("file") > 0))
    return (
        maps.join(files.filter(pl.col("number") >= 0), on="file").group_by("number").agg(pl.col("time").min())
    )


def tree_of(recording: Recording, paths: Paths, file_path: list[int]) -> Tree:
    """Find what becomes of each path of `recording`; what is mapped is there, if nothing else is known of it.

    `file_path` are the paths of the files that are mapped, by their index; negative: it has none.

    What a call finds without having been made is there from the start, as long as the farthest read of it; so are the
    directories on its way. What is opened to be made (O_CREAT) and was not seen before is new then.
    """
    columns = ["time", "kind", "page", "pages", "info", "path", "path2", "error"]
    calls = recording.events.filter((pl.col("kind") >= rec.FILE_OPEN) & (pl.col("path") > 0)).sort(
        "time", maintain_order=True
    )
    follower = _Follower(paths)
    numbers = paths.of_recording
    maps = deque(_first_maps(recording, file_path).sort("time", "number").iter_rows())

    def mapped(until: int) -> None:
        while maps and maps[0][1] <= until:
            path, time = maps.popleft()
            if path not in follower.now:
                follower.is_there(time, path, 0)

    for time, kind, page, pages, info, path, path2, error in calls.select(columns).iter_rows():
        mapped(time)
        if numbers[path] >= 0:
            row = (time, kind, page, pages, info, numbers[path], numbers[path2], error)
            _follow(follower, row)
    mapped(recording.duration_ns)
    start = [(_FROM_START, path, what) for path, what in sorted(follower.first.items())]
    log = np.array(start + follower.log, np.int64).reshape(-1, 3)
    return Tree(log[:, 0].copy(), log[:, 1].astype(np.int32), log[:, 2].copy())
