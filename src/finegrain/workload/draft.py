"""A program in the making, and how it is put into arrays."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.clock import user_time
from finegrain.workload.program import Program
from finegrain.workload.recording import Recording
from finegrain.workload.rows import Rows
from finegrain.workload.space import Region

END = -1  # in a row's place: after the last one of its list
UNKNOWN = 3  # an access not told by the recording, beside the TOUCH_* bits
_UINT32_MAX = (1 << 32) - 1


@dataclass
class Draft:
    """Steps found so far: a touch for each fault row not dropped, and the others as they are found."""

    dropped: bytearray
    access: bytearray  # of each row that is a fault: TOUCH_* bits or UNKNOWN
    to: int = 0  # the list to which steps are being added
    out: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)  # list, row, op, args
    # file, page of it, protection, flags -> index
    maps: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    inferred: Counter[str] = field(default_factory=Counter)

    def add(self, row: int, op: int, arg0: int = 0, arg1: int = 0, arg2: int = 0) -> None:
        """Add a step at `row` (or END), after those that are there. An AWAIT's arg1 is a row."""
        self.out.append((self.to, row, op, arg0, arg1, arg2))

    def mmap(self, row: int, region: Region, flags: int) -> None:
        """Add the step that maps `region`."""
        page = region.start + region.skew if region.backing >= 0 else 0
        key = (region.backing, page, region.prot, flags)
        index = self.maps.setdefault(key, len(self.maps))
        length = region.end - region.start
        self.add(row, pr.MMAP, region.start * pr.PAGE_BYTES, length * pr.PAGE_BYTES, index)


def lay_out(recording: Recording, rows: Rows, draft: Draft) -> Program:
    """Put touches and other steps into one order, with their times."""
    # all rows in the order of the lists; at the same row, a touch comes last
    order = rows.in_lists
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    kinds = rows.kind[order]
    lists = np.arange(rows.processes + len(rows.thread_process) + 1)
    bounds = np.searchsorted(rows.lists[order], lists)
    others = np.array(draft.out, np.int64).reshape(-1, 6)
    added = others[:, 1] == END
    other_row = np.where(added, bounds[others[:, 0] + 1], place[others[:, 1]] if len(place) else 0)
    sort = np.lexsort((other_row, others[:, 0]))
    others, other_row, added = others[sort], other_row[sort], added[sort]
    other_list = others[:, 0]
    dropped = np.frombuffer(draft.dropped, np.uint8)[order]
    touches = np.flatnonzero((kinds == rec.FAULT) & (dropped == 0))
    total = len(others) + len(touches)
    # what is added at a list's end comes before the next one's touches
    other_at = np.arange(len(others)) + np.searchsorted(touches, other_row)
    is_touch = np.ones(total, np.bool_)
    is_touch[other_at] = False
    first_step = np.searchsorted(touches, bounds) + np.searchsorted(other_list, lists)

    def column(of_others: npt.NDArray[np.int64], of_touches: npt.ArrayLike) -> npt.NDArray[np.int64]:
        both = np.empty(total, np.int64)
        both[other_at] = of_others
        both[is_touch] = of_touches
        return both

    # a pause ends when the ON row after it says; an EXIT that was added, when the recording does
    times = np.append(rows.events["time"].to_numpy()[order], recording.duration_ns)
    kind = np.append(kinds, 0)
    paused = ~added & np.isin(others[:, 2], [pr.SLEEP, pr.WAIT]) & (kind[other_row] == rec.OFF)
    other_time = np.where(added, recording.duration_ns, times[other_row + paused])

    before = np.concatenate([[0], np.cumsum(user_time(rows.events)[0][order])])
    upto = column(before[np.minimum(other_row + 1, bounds[other_list + 1])], before[touches + 1])
    since = np.empty_like(upto)
    since[1:] = upto[:-1]
    since[first_step[:-1]] = before[bounds[:-1]]
    row_of = column(other_row, touches)
    waits = others[:, 2] == pr.AWAIT
    if waits.any():
        steps = np.searchsorted(row_of, place[others[waits, 4]], side="right")
        others[waits, 4] = np.where(steps > first_step[others[waits, 3]], steps, 0)

    user = upto - since
    if (user > _UINT32_MAX).any():
        draft.inferred["stretches of user time cut to 4.3 s"] = int((user > _UINT32_MAX).sum())

    maps = np.array(list(draft.maps), np.int64).reshape(-1, 4)
    mapped = others[others[:, 2] == pr.MMAP]
    of = maps[mapped[:, 5]]
    file_pages = np.zeros(len(recording.files), np.int64)
    reach = of[:, 1] + mapped[:, 4] // pr.PAGE_BYTES
    np.maximum.at(file_pages, of[of[:, 0] >= 0, 0], reach[of[:, 0] >= 0])
    access = np.frombuffer(draft.access, np.uint8)[order][touches]
    return Program(
        name=recording.name,
        kind=recording.kind,
        duration_ns=recording.duration_ns,
        parent=rows.parent,
        start=rows.start,
        end=rows.end,
        first_step=first_step.astype(np.int64),
        op=column(others[:, 2], pr.TOUCH).astype(np.uint8),
        user_ns=np.minimum(user, _UINT32_MAX).astype(np.uint32),
        time=column(other_time, times[touches]),
        arg0=column(others[:, 3], rows.page[order][touches] * pr.PAGE_BYTES).astype(np.uint64),
        arg1=column(others[:, 4], 0).astype(np.uint64),
        arg2=column(others[:, 5], access).astype(np.uint32),
        map_file=maps[:, 0].astype(np.int32),
        map_page=maps[:, 1].copy(),
        map_prot=maps[:, 2].astype(np.uint8),
        map_flags=maps[:, 3].astype(np.uint8),
        file_name=list(recording.files),
        file_pages=file_pages,
        thread_process=rows.thread_process,
        lacks=list(recording.lacks),
        inferred=dict(sorted(draft.inferred.items())),
    )
