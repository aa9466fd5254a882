"""Which files a builder finds, and which of them it shares with the others."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from finegrain.workload.file_tree import DIRECTORY, GONE
from finegrain.workload.program import NO_PATH, PAGE_BYTES, Program

ENTRY: Final = np.dtype([("path", np.int32), ("file", np.int32), ("bytes", np.int64)])
# what a poudriere host lends its jails, read-only, as one copy for all
_LENT: Final = ("/usr/ports", "/distfiles")


class Trees:
    """The file systems of a program's builders, with private, shared or mixed images.

    With shared images all builders see one copy of what lies in a directory of the root in which nothing changes; with
    mixed ones, of the ports tree and the distfiles. Without file calls in the recording there are no trees.
    """

    def __init__(self, program: Program, images: str) -> None:
        """Find what is shared."""
        self.program = program
        self._there = bool(len(program.path_parent))
        count = len(program.path_parent)
        first = np.full(count, GONE, np.int64)
        from_start = program.tree_time < 0
        # what two parts differ about is as the first of them has it
        first[program.tree_path[from_start][::-1]] = program.tree_bytes[from_start][::-1]
        self.roots = self._shared_roots(first, images)
        below = np.full(count, -1, np.int32)  # the shared root that a path lies below
        for path in range(1, count):
            above = int(program.path_parent[path])
            below[path] = above if above in self.roots else below[above]
        self._below = below
        pages = program.file_pages
        self.file_of = np.full(count, -1, np.int32)
        # of each file that is mapped: is it there from the start, and do all map one?
        self.filled = np.ones(len(pages), np.bool_)
        self.file_shared = np.full(len(pages), images == "shared", np.bool_)
        if self._there:
            for file, path in enumerate(program.file_path.tolist()):
                if path == NO_PATH:
                    continue
                self.file_shared[file] = below[path] >= 0
                self.filled[file] = first[path] >= 0 and self.file_of[path] < 0
                if self.filled[file]:
                    self.file_of[path] = file
        self._first = first

    def _name(self, path: int) -> str:
        parts: list[str] = []
        while path:
            parts.append(self.program.names[self.program.path_name[path]])
            path = int(self.program.path_parent[path])
        return "/" + "/".join(reversed(parts))

    def _shared_roots(self, first: npt.NDArray[np.int64], images: str) -> list[int]:
        program = self.program
        if not self._there or images == "private":
            return []
        directories = np.flatnonzero(first == DIRECTORY)
        if images == "mixed":
            return [int(path) for path in directories if self._name(int(path)) in _LENT]
        top = np.arange(len(first))
        for path in range(1, len(first)):
            if program.path_parent[path]:
                top[path] = top[program.path_parent[path]]
        changed = set(top[program.tree_path[program.tree_time >= 0]].tolist())
        return [int(p) for p in directories if p and not program.path_parent[p] and int(p) not in changed]

    def _entries(self, what: npt.NDArray[np.int64], paths: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the rows for those of `paths` that are there; `what` is a Tree's bytes of each path."""
        paths = paths[what[paths] != GONE]
        paths = paths[paths > 0]
        rows = np.zeros(len(paths), ENTRY)
        rows["path"], rows["bytes"] = paths, what[paths]
        regular = what[paths] >= 0
        rows["file"] = np.where(regular & (self._first[paths] >= 0), self.file_of[paths], -1)
        return rows

    def shared(self) -> list[tuple[int, npt.NDArray[Any]]]:
        """Return each shared directory's path and what is in it."""
        return [
            (root, self._entries(self._first, np.flatnonzero(self._below == root))) for root in self.roots
        ]

    def at(self, t_ns: int, part: int = 0) -> npt.NDArray[Any]:
        """Return what else there is for a builder at recording time `t_ns` of a part: its own files.

        Of the other parts there is what they begin with.
        """
        program = self.program
        if not self._there:
            return np.zeros(0, ENTRY)
        done = program.tree_time <= t_ns
        if len(program.tree_part):
            done &= program.tree_part == part
        what = self._first.copy()
        what[program.tree_path[done]] = program.tree_bytes[done]  # the last one of each path counts
        rows = self._entries(what, np.flatnonzero(self._below < 0))
        # what has been made since the start and is mapped has as many pages as that needs
        mapped = {path: file for file, path in enumerate(program.file_path.tolist()) if path != NO_PATH}
        for i in np.flatnonzero((rows["file"] < 0) & (rows["bytes"] >= 0)):
            file = mapped.get(int(rows["path"][i]))
            if file is not None:
                least = (int(program.file_pages[file]) - 1) * PAGE_BYTES + 1
                rows["bytes"][i] = max(int(rows["bytes"][i]), least)
        return rows
