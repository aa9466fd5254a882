"""From measurements of a design (one a replication) to its DesignResult."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from finegrain.study.measure import Measurement, Task, lock_key
from finegrain.study.result import (
    SPAN_90MIN_S,
    DesignResult,
    Lock,
    Point,
    PVContent,
    PVLock,
    Superpage,
    is_pv_list,
)
from finegrain.study.statistics import add_histograms, half_width, histogram_quantile, mean_ci95, ratio_ci95

PS_PER_US = 1_000_000
SUPERPAGE_BYTES = 2 << 20
KEEP_SUPERPAGES = 50
KEEP_PV_LOCKS = 256
LINE_KINDS = ("hit", "sibling", "socket", "cross", "memory")


def summarise(
    task: Task, measurements: Sequence[Measurement], first: Sequence[Measurement] | None = None
) -> DesignResult:
    """Add replications up; rates and scaled figures are means over them.

    `first` are the measurements of the design to compare with, with the same seeds; None: it is this one.
    """
    replications = len(measurements)
    pv_waits, first_pv_waits = _pv_waits(measurements), _pv_waits(first or measurements)
    waited = sum(pv_waits) > 0
    rows = _merge_rows([row for m in measurements for row in m.profile])
    locks = [
        _lock(name, [row for row in rows if lock_key(row) == name], measurements, task.seconds)
        for name in sorted({lock_key(row) for row in rows})
    ]
    locks.sort(key=lambda lock: (-lock.wait_us, lock.lock))
    superpages = _sum_rows([m.superpages for m in measurements])
    pv_locks = _sum_rows([m.pv_locks for m in measurements])
    counts = {name: sum(m.counts[name] for m in measurements) for name in measurements[0].counts}
    span = task.seconds * replications
    exits = [m.counts["exits"] / task.seconds for m in measurements]
    times = {name: sum(m.cpu_times[name] for m in measurements) for name in measurements[0].cpu_times}
    whole = max(1, sum(times.values()))
    worst = [_superpage(row, measurements) for row in superpages[:KEEP_SUPERPAGES] if row["wait_ps"]]
    return DesignResult(
        name=task.design.name,
        locks=locks,
        pv_wait={
            "collision_us": sum(row["collision_ps"] for row in pv_locks) / PS_PER_US,
            "sharing_us": sum(row["sharing_ps"] for row in pv_locks) / PS_PER_US,
        },
        pv_ratio=sum(first_pv_waits) / sum(pv_waits) if waited else None,
        pv_ratio_ci95=ratio_ci95(first_pv_waits, pv_waits),
        pv_superpages=worst,
        pv_wait_by_content=_by_content(worst),
        pv_locks=[_pv_lock(row) for row in pv_locks[:KEEP_PV_LOCKS]],
        pv_bytes=measurements[0].pv_bytes,
        exits_per_s=counts["exits"] / span,
        faults_per_s=counts["faults"] / span,
        exits_per_s_ci95=mean_ci95(exits),
        counts=counts,
        chunks_freed_histogram=add_histograms([m.chunks_freed for m in measurements]),
        cpu_share={name: value / whole for name, value in times.items()},
        lock_operations=2 * sum(lock.acquisitions for lock in locks),
        wall_s=sum(m.wall_s for m in measurements),
    )


def widest(designs: Sequence[Sequence[Measurement]]) -> float:
    """Give the largest half-width, as a part of the value, of the intervals that a precision is asked for.

    Those are of the first design's worst lock and of the PV list ratio of each other design. A design is given as its
    measurements, all with the same seeds.
    """
    first = designs[0]
    total: dict[str, int] = {}
    for m in first:
        for name, wait in m.waits().items():
            total[name] = total.get(name, 0) + wait
    worst = _waits(max(total, key=lambda name: (total[name], name)), first) if total else []
    widths = [half_width(fmean(worst), mean_ci95(worst))] if worst else [0.0]
    over = _pv_waits(first)
    for other in designs[1:]:
        under = _pv_waits(other)
        if sum(over) > 0 and sum(under) > 0:
            widths.append(half_width(sum(over) / sum(under), ratio_ci95(over, under)))
    return max(widths)


def _waits(lock: str, measurements: Sequence[Measurement]) -> list[int]:
    return [m.waits().get(lock, 0) for m in measurements]


def _pv_waits(measurements: Sequence[Measurement]) -> list[int]:
    return [sum(wait for lock, wait in m.waits().items() if is_pv_list(lock)) for m in measurements]


_SUMMED = (
    "acquisitions", "contested", "trylock_failures", "wait_ps", "block_ps", "spin_ps", "hold_ps", "depth_total",
    "transfers", "neighbour_transfers", "transfer_ps", "neighbour_ps",
)  # fmt: skip
_PV_SUMMED = ("acquisitions", "contested", "wait_ps", "hold_ps", "collision_ps", "sharing_ps")
_LARGEST = ("wait_max_ps", "hold_max_ps", "depth_max")


def _merge_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    merged: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["class"], row["name"], row["site"])
        if key not in merged:
            merged[key] = dict(row)
            continue
        into = merged[key]
        for name in _SUMMED:
            into[name] += row[name]
        for name in _LARGEST:
            into[name] = max(into[name], row[name])
        into["lines"] = [a + b for a, b in zip(into["lines"], row["lines"], strict=True)]
        for name in ("wait_histogram_ns", "hold_histogram_ns"):
            into[name] = add_histograms([into[name], row[name]])
    return list(merged.values())


def _sum_rows(tables: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Add tables by index; most waited first. What says where a row is, is the same in all of them."""
    total: dict[int, dict[str, Any]] = {}
    for table in tables:
        for row in table:
            into = total.setdefault(row["index"], row | dict.fromkeys(_PV_SUMMED, 0))
            for name in _PV_SUMMED:
                into[name] += row[name]
    return sorted(total.values(), key=lambda row: (-row["wait_ps"], row["index"]))


def _lock(
    name: str,
    rows: list[dict[str, Any]],
    measurements: Sequence[Measurement],
    seconds: float,
) -> Lock:
    points = sorted((_point(row) for row in rows), key=lambda point: (-point.wait_us, point.site))
    held_by: dict[str, int] = {}
    held_by_points: dict[tuple[str, str], int] = {}
    for m in measurements:
        for (lock, holder, waiter), ps in m.charged.items():
            if lock == name:
                held_by[holder] = held_by.get(holder, 0) + ps
                held_by_points[holder, waiter] = held_by_points.get((holder, waiter), 0) + ps
    waits = [wait * SPAN_90MIN_S / seconds / PS_PER_US for wait in _waits(name, measurements)]
    scale = SPAN_90MIN_S / (seconds * len(measurements)) / PS_PER_US
    return Lock(
        lock=name,
        acquisitions=sum(point.acquisitions for point in points),
        contested=sum(point.contested for point in points),
        wait_us=sum(row["wait_ps"] for row in rows) / PS_PER_US,
        hold_us=sum(row["hold_ps"] for row in rows) / PS_PER_US,
        wait_us_90min=fmean(waits),
        wait_us_90min_ci95=mean_ci95(waits),
        spin_us=sum(row["spin_ps"] for row in rows) / PS_PER_US,
        block_us=sum(row["block_ps"] for row in rows) / PS_PER_US,
        wait_max_us=max(row["wait_max_ps"] for row in rows) / PS_PER_US,
        transfer_us_90min=sum(row["transfer_ps"] for row in rows) * scale,
        neighbour_us_90min=sum(row["neighbour_ps"] for row in rows) * scale,
        wait_histogram_ns=add_histograms([row["wait_histogram_ns"] for row in rows]),
        hold_histogram_ns=add_histograms([row["hold_histogram_ns"] for row in rows]),
        held_by=[(site, ps / PS_PER_US) for site, ps in _largest_first(held_by)],
        held_by_points=[(*sites, ps / PS_PER_US) for sites, ps in _largest_first(held_by_points)],
        points=points,
    )


def _largest_first(amounts: dict[Any, int]) -> list[tuple[Any, int]]:
    return sorted(amounts.items(), key=lambda item: (-item[1], item[0]))


def _point(row: dict[str, Any]) -> Point:
    return Point(
        site=row["site"],
        acquisitions=row["acquisitions"],
        contested=row["contested"],
        trylock_failures=row["trylock_failures"],
        wait_us=row["wait_ps"] / PS_PER_US,
        wait_max_us=row["wait_max_ps"] / PS_PER_US,
        wait_median_ns=histogram_quantile(row["wait_histogram_ns"], 0.5),
        wait_p99_ns=histogram_quantile(row["wait_histogram_ns"], 0.99),
        hold_us=row["hold_ps"] / PS_PER_US,
        hold_max_us=row["hold_max_ps"] / PS_PER_US,
        hold_median_ns=histogram_quantile(row["hold_histogram_ns"], 0.5),
        hold_p99_ns=histogram_quantile(row["hold_histogram_ns"], 0.99),
        spin_us=row["spin_ps"] / PS_PER_US,
        block_us=row["block_ps"] / PS_PER_US,
        depth_mean=row["depth_total"] / row["contested"] if row["contested"] else 0.0,
        depth_max=row["depth_max"],
        transfers=dict(zip(LINE_KINDS, row["lines"], strict=True)),
        line_transfers=row["transfers"],
        neighbour_transfers=row["neighbour_transfers"],
        transfer_us=row["transfer_ps"] / PS_PER_US,
        neighbour_us=row["neighbour_ps"] / PS_PER_US,
        wait_histogram_ns=row["wait_histogram_ns"],
        hold_histogram_ns=row["hold_histogram_ns"],
    )


def _superpage(row: dict[str, Any], measurements: Sequence[Measurement]) -> Superpage:
    first = row["index"] * SUPERPAGE_BYTES
    holds = next(
        (m.superpage_holds[row["index"]] for m in measurements if row["index"] in m.superpage_holds), []
    )
    return Superpage(
        superpage=row["index"],
        physical=(first, first + SUPERPAGE_BYTES),
        wait_us=row["wait_ps"] / PS_PER_US,
        collision_us=row["collision_ps"] / PS_PER_US,
        sharing_us=row["sharing_ps"] / PS_PER_US,
        contested=row["contested"],
        holds=holds,
    )


def _by_content(superpages: list[Superpage]) -> list[PVContent]:
    """Add superpages up by what most of their pages hold."""
    groups: dict[tuple[str, str | None], list[Superpage]] = {}
    for superpage in superpages:
        most = (superpage.holds[0].kind, superpage.holds[0].file) if superpage.holds else ("free", None)
        groups.setdefault(most, []).append(superpage)
    contents = [
        PVContent(
            kind=kind,
            file=file,
            superpages=len(group),
            collision_us=sum(superpage.collision_us for superpage in group),
            sharing_us=sum(superpage.sharing_us for superpage in group),
        )
        for (kind, file), group in groups.items()
    ]
    return sorted(contents, key=lambda c: (-c.collision_us - c.sharing_us, c.kind, c.file or ""))


def _pv_lock(row: dict[str, Any]) -> PVLock:
    return PVLock(
        index=row["index"],
        physical=(row["first_pa"], row["end_pa"]),
        period=row["period"],
        wait_us=row["wait_ps"] / PS_PER_US,
        hold_us=row["hold_ps"] / PS_PER_US,
        acquisitions=row["acquisitions"],
        contested=row["contested"],
        collision_us=row["collision_ps"] / PS_PER_US,
        sharing_us=row["sharing_ps"] / PS_PER_US,
    )
