"""Several recordings as one program: each builder runs whole ones, one after another.

A mix is written `NAME=SHARE,NAME=SHARE,...`: bundled recordings or files, and the share of a builder's time that each
has. A builder is found in one of them with that probability, and draws the next one when it has come to an end, so
often that the shares come out.
"""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from finegrain.errors import UserError
from finegrain.workload import program as pr
from finegrain.workload.program import Program

# What a builder's time goes to in a bulk build of packages: our choice [A], within what the chunks freed by a
# buildkernel allow, which has more compiling and less configuring (docs/recordings.md has both histograms).
POUDRIERE: Final = "poudriere"
MIXES: Final = {POUDRIERE: {"configure": 0.35, "compile": 0.45, "threads": 0.05, "stage": 0.15}}
_SUM = 1e-6  # how far from 1 a sum of shares may be: rounding

_PIPES = (pr.PIPE, pr.READ, pr.WRITE, pr.CLOSE)
_PROCESSES = (pr.FORK, pr.VFORK, pr.WAIT, pr.SETPGID, pr.KILLPG)
_TWO_PATHS = (pr.FILE_RENAME, pr.FILE_LINK, pr.FILE_SYMLINK)


def shares_of(workload: str) -> dict[str, float]:
    """Return the recordings of a workload and their shares. UserError when they do not add up, or are none."""
    if workload in MIXES:
        return MIXES[workload]
    if "=" not in workload:
        return {workload: 1.0}
    shares: dict[str, float] = {}
    for part in workload.split(","):
        name, _, text = part.rpartition("=")
        try:
            share = float(text)
        except ValueError:
            share = math.nan
        if not name or not 0 < share <= 1:
            raise UserError(f"workload {workload}: {part!r} is no recording with a share (NAME=0.4)")
        if name in shares:
            raise UserError(f"workload {workload}: {name} is there twice")
        shares[name] = share
    total = sum(shares.values())
    if abs(total - 1) > _SUM:
        raise UserError(f"workload {workload}: the shares add up to {total:g}, not to 1")
    return shares


def _pipes(program: Program) -> int:
    """Count the pipes of a program."""
    used = program.arg0[np.isin(program.op, _PIPES)]
    return int(used.max()) + 1 if len(used) else 0


class _Merger:
    """Puts programs side by side: every number that a step uses gets another one."""

    def __init__(self, programs: list[Program]) -> None:
        self.programs = programs
        self.processes = np.cumsum([0] + [len(program.parent) for program in programs])
        self.threads = np.cumsum([0] + [len(program.thread_process) for program in programs])
        self.pipes = np.cumsum([0] + [_pipes(program) for program in programs])
        self.maps = np.cumsum([0] + [len(program.map_file) for program in programs])
        self.files: dict[str, int] = {}
        self.paths: dict[tuple[int, str], int] = {(-1, ""): 0}
        self.path_parent, self.path_names = [0], [""]
        # of each program: what its files and paths are called here
        self.file_of = [self._numbered_files(program) for program in programs]
        self.path_of = [self._numbered_paths(program) for program in programs]

    def _numbered_files(self, program: Program) -> npt.NDArray[np.int64]:
        return np.array(
            [self.files.setdefault(name, len(self.files)) for name in program.file_name], np.int64
        )

    def _numbered_paths(self, program: Program) -> npt.NDArray[np.int64]:
        """Number its paths by what they are called; a path comes after its directory."""
        numbers = np.zeros(len(program.path_parent), np.int64)
        for path in range(1, len(numbers)):
            parent = int(numbers[program.path_parent[path]])
            name = program.names[program.path_name[path]]
            if (parent, name) not in self.paths:
                self.paths[parent, name] = len(self.path_parent)
                self.path_parent.append(parent)
                self.path_names.append(name)
            numbers[path] = self.paths[parent, name]
        return numbers

    def list_of(self, part: int, lists: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return what these lists of steps of a program are called here."""
        own = len(self.programs[part].parent)
        lists = lists.astype(np.int64)
        threads = int(self.processes[-1] + self.threads[part]) - own
        return np.where(lists < own, lists + self.processes[part], lists + threads)

    def steps(self, part: int, first_step: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of a program's steps with the numbers that they have here."""
        program = self.programs[part]
        op = np.asarray(program.op)
        arg0, arg1 = program.arg0.astype(np.int64), program.arg1.astype(np.int64)
        arg2 = program.arg2.astype(np.int64)

        def of(*ops: int) -> npt.NDArray[np.bool_]:
            return np.isin(op, ops)

        arg0[of(*_PIPES)] += self.pipes[part]
        arg0[of(*_PROCESSES)] += self.processes[part]
        arg1[of(pr.SETPGID)] += self.processes[part]
        arg2[of(pr.MMAP)] += self.maps[part]
        execs = of(pr.EXEC)
        if len(self.file_of[part]):
            arg0[execs] = self.file_of[part][arg0[execs]]
        files = op >= pr.FILE_OPEN
        arg0[files] = self.path_of[part][arg0[files]] if files.any() else arg0[files]
        two = of(*_TWO_PATHS)
        arg1[two] = self.path_of[part][arg1[two]] if two.any() else arg1[two]
        waits, lists = of(pr.AWAIT), of(pr.AWAIT, pr.THREAD)
        theirs = arg0[waits]
        arg0[lists] = self.list_of(part, arg0[lists])
        moved = first_step[arg0[waits]] - program.first_step[theirs]
        arg1[waits] = np.where(arg1[waits] > 0, arg1[waits] + moved, 0)
        return {
            "op": op, "user_ns": program.user_ns, "time": program.time, "arg0": arg0.astype(np.uint64),
            "arg1": arg1.astype(np.uint64), "arg2": arg2.astype(np.uint32),
        }  # fmt: skip

    def file_columns(self) -> dict[str, Any]:
        """Return what the files are."""
        pages = np.zeros(len(self.files), np.int64)
        path = np.full(len(self.files), pr.NO_PATH, np.int32)
        for part, program in enumerate(self.programs):
            numbers = self.file_of[part]
            np.maximum.at(pages, numbers, program.file_pages)
            for number, theirs in zip(numbers.tolist(), program.file_path.tolist(), strict=False):
                if theirs != pr.NO_PATH and path[number] == pr.NO_PATH:
                    path[number] = self.path_of[part][theirs]
        names: dict[str, int] = {}
        name = np.array([names.setdefault(text, len(names)) for text in self.path_names], np.uint32)
        return {
            "file_name": list(self.files), "file_pages": pages, "file_path": path,
            "path_parent": np.array(self.path_parent, np.int32), "path_name": name, "names": list(names),
        }  # fmt: skip


def mixed(programs: list[Program], names: list[str], shares: list[float]) -> Program:
    """Put programs side by side, the parts of one, that builders run with these shares of their time."""
    if len(programs) == 1:
        return replace(programs[0], part_name=names)
    merger = _Merger(programs)
    parts = range(len(programs))
    # the lists: all processes, then all further threads; each program's steps are cut into the two
    lengths = [np.diff(program.first_step) for program in programs]
    cuts = [len(program.parent) for program in programs]
    ordered = [*(lengths[i][: cuts[i]] for i in parts), *(lengths[i][cuts[i] :] for i in parts)]
    first_step = np.concatenate([[0], np.cumsum(np.concatenate(ordered))]).astype(np.int64)
    steps = [merger.steps(i, first_step) for i in parts]
    at = [int(programs[i].first_step[cuts[i]]) for i in parts]

    def joined(name: str) -> npt.NDArray[Any]:
        return np.concatenate(
            [*(steps[i][name][: at[i]] for i in parts), *(steps[i][name][at[i] :] for i in parts)]
        )

    def each(name: str, offsets: npt.NDArray[np.int64] | None = None, none: int = -1) -> npt.NDArray[Any]:
        columns = []
        for i in parts:
            column = np.asarray(getattr(programs[i], name))
            columns.append(
                np.where(column == none, none, column + offsets[i]) if offsets is not None else column
            )
        return np.concatenate(columns).astype(getattr(programs[0], name).dtype)

    journal = [np.stack([p.tree_time, merger.path_of[i][p.tree_path], p.tree_bytes], axis=1) if len(p.tree_time)
               else np.zeros((0, 3), np.int64) for i, p in enumerate(programs)]  # fmt: skip
    of_part = np.repeat(np.arange(len(programs)), [len(rows) for rows in journal])
    log = np.concatenate(journal)
    inferred: dict[str, int] = {}
    for program in programs:
        for what, count in program.inferred.items():
            inferred[what] = inferred.get(what, 0) + count
    files = [merger.file_of[i][p.map_file] if len(p.map_file) else p.map_file for i, p in enumerate(programs)]
    map_file = np.concatenate(
        [np.where(p.map_file < 0, pr.NO_FILE, f) for p, f in zip(programs, files, strict=True)]
    )
    return Program(
        name=",".join(f"{name}={share:g}" for name, share in zip(names, shares, strict=True)),
        kind=programs[0].kind,
        duration_ns=max(program.duration_ns for program in programs),
        parent=each("parent", merger.processes),
        start=each("start"),
        end=each("end"),
        first_step=first_step,
        op=joined("op"),
        user_ns=joined("user_ns"),
        time=joined("time"),
        arg0=joined("arg0"),
        arg1=joined("arg1"),
        arg2=joined("arg2"),
        map_file=map_file.astype(np.int32),
        map_page=each("map_page"),
        map_prot=each("map_prot"),
        map_flags=each("map_flags"),
        **merger.file_columns(),
        tree_time=log[:, 0].copy(),
        tree_path=log[:, 1].astype(np.int32),
        tree_bytes=log[:, 2].copy(),
        tree_part=of_part.astype(np.int32),
        thread_process=each("thread_process", merger.processes),
        lacks=sorted({what for program in programs for what in program.lacks}),
        inferred=dict(sorted(inferred.items())),
        part_name=names,
        part_process=merger.processes.astype(np.int32),
        part_duration=np.array([program.duration_ns for program in programs], np.int64),
        part_share=np.array(shares, np.float64),
    )
