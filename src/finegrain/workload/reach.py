"""Which pages of its files a program can reach: only those need to be in memory as pages."""

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from finegrain.workload import program as pr
from finegrain.workload.program import Program

_WINDOW: Final = (
    5  # a fault looks at 4 pages to each side (FreeBSD PFBAK, PFFOR), and stops at the first missing one
)
_PARTIAL: Final = 96  # mmap of a file maps so many at once (FreeBSD MAX_INIT_PT)
_PAGE_BITS: Final = 36
_HOLE: Final = 32  # shorter runs of pages that are not reached are filled all the same


def _images(program: Program) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the program images (what a process is between two EXECs).

    Returns the image of each step, and for each image the one that it was forked from, -1 if it began with an EXEC.
    """
    first = program.first_step[:-1]
    begins = program.op == pr.EXEC
    begins[first] = True
    image = np.cumsum(begins) - 1
    origin = np.full(int(image[-1]) + 1, -1, np.int64)
    forks = np.flatnonzero((program.op == pr.FORK) | (program.op == pr.VFORK))
    child = first[program.arg0[forks].astype(np.int64)]
    begun = program.op[child] == pr.EXEC
    origin[image[child[~begun]]] = image[forks[~begun]]
    return image, origin


def _mark_touched(
    program: Program, file_start: npt.NDArray[np.int64], reached: npt.NDArray[np.bool_]
) -> None:
    """Mark file pages that touches may hit, of all mappings that their image, or one it was forked from, ever had."""
    image, origin = _images(program)
    maps = np.flatnonzero(program.op == pr.MMAP)
    maps = maps[program.map_file[program.arg2[maps]] >= 0]
    kind = program.arg2[maps]
    low = (image[maps] << _PAGE_BITS) + (program.arg0[maps] // pr.PAGE_BYTES).astype(np.int64)
    high = low + (program.arg1[maps] // pr.PAGE_BYTES).astype(np.int64)
    at = file_start[program.map_file[kind]] + program.map_page[kind]
    touches = np.flatnonzero(program.op == pr.TOUCH)
    of = image[touches]
    page = (program.arg0[touches] // pr.PAGE_BYTES).astype(np.int64)
    while len(of):
        place = np.sort((of << _PAGE_BITS) + page)
        first, last = np.searchsorted(place, low), np.searchsorted(place, high)
        row = np.repeat(np.arange(len(maps)), last - first)
        index = np.arange(len(row)) - np.repeat(np.cumsum(last - first) - last, last - first)
        reached[at[row] + place[index] - low[row]] = True
        page, of = page[origin[of] >= 0], origin[of]
        of = of[of >= 0]


def _mark_premapped(
    program: Program, file_start: npt.NDArray[np.int64], reached: npt.NDArray[np.bool_]
) -> None:
    """Mark what is mapped without a touch: program segments whole, of other files so many pages."""
    maps = np.flatnonzero(program.op == pr.MMAP)
    kind = program.arg2[maps]
    pages = (program.arg1[maps] // pr.PAGE_BYTES).astype(np.int64)
    whole = (program.map_flags[kind] & pr.MAP_EXEC) != 0
    pages[~whole] = np.minimum(pages[~whole], _PARTIAL)
    for number, length in np.unique(np.stack([kind.astype(np.int64), pages]), axis=1).T.tolist():
        if program.map_file[number] >= 0:
            first = int(file_start[program.map_file[number]] + program.map_page[number])
            reached[first : first + length] = True


def reached_pages(program: Program) -> list[npt.NDArray[np.bool_]]:
    """Say for each page of each file whether a replay can ever look for it.

    Those are the pages that are touched, their neighbours in the window of a fault, and what mmap and exec map at
    once; a few more where mappings replaced each other. A file's first page counts if anything of the file does:
    exec reads it.
    """
    file_start = np.concatenate([[0], np.cumsum(program.file_pages)])
    reached = np.zeros(int(file_start[-1]), np.bool_)
    _mark_touched(program, file_start, reached)
    _mark_premapped(program, file_start, reached)
    files = np.split(reached, file_start[1:-1])
    for file in files:
        if file.any():
            hit = np.flatnonzero(file)
            for shift in range(-_WINDOW, _WINDOW + 1):
                file[np.clip(hit + shift, 0, len(file) - 1)] = True
            file[0] = True
    return files


Run = tuple[int, int, int, int]  # file, whether it is reached, first page, pages


def fill_runs(program: Program) -> list[Run]:
    """Divide the files into runs, in order.

    Runs that are not reached are at least 32 pages long. Files of which nothing is reached have none.
    """
    runs: list[Run] = []
    for number, reached in enumerate(reached_pages(program)):
        if not reached.any():
            continue
        edges = np.flatnonzero(np.diff(reached.astype(np.int8))) + 1
        bounds = [0, *edges.tolist(), len(reached)]
        merged: list[list[int]] = []
        for begin, end in pairwise(bounds):
            hit = int(reached[begin]) or int(end - begin < _HOLE)
            if merged and merged[-1][0] == hit:
                merged[-1][2] = end
            else:
                merged.append([hit, begin, end])
        runs += [(number, hit, begin, end - begin) for hit, begin, end in merged]
    return runs
