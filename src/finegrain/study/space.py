"""What the PV list locks of a design cost in bytes on a machine's real memory map."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from finegrain.design import Design, parse_design
from finegrain.errors import UserError
from finegrain.lab import pv_space
from finegrain.machine.memory import GIB, SUPERPAGE
from finegrain.memorymap.read import MemoryMap

SCHEMA: Final = "finegrain.space/1"
DEFAULT_DESIGNS: Final = (
    "head",
    "superpage:table=pointers",
    "superpage",
    "superpage:table=filled",
    "superpage:lock=mtx8",
    "superpage:lock=bit2",
)
ANY_DOMAIN: Final = -1
"""Bytes in the kernel's image, or in memory that is spread over all domains."""
SMALLER_LOCKS: Final = ("mtx8", "bit2")


@dataclass(frozen=True)
class DesignSpace:
    """Bytes that a design takes: locks, generations, list heads, pointers."""

    name: str
    lock_bytes: int  # one lock, padding included; 0: it lies in another word
    struct_bytes: int  # what there is for each superpage: the struct, or the list head where locks are hashed
    reserved: int  # address space
    populated: int  # memory
    pointers: int  # of it, the array of pointers
    lost: int  # of it, what serves no superpage that holds memory: rounding to pages, and holes
    by_domain: dict[int, int]  # populated bytes; ANY_DOMAIN: wherever the kernel puts them
    per_gb: float  # populated bytes for each GB (2**30 bytes) of RAM
    share: float  # populated bytes over those of RAM


@dataclass(frozen=True)
class Saving:
    """What one of the two ways to shrink the cost saves: the populated bytes of two designs."""

    way: str  # table: a sparse table instead of an array of pointers; lock: a smaller lock
    before: str
    after: str
    saved: int


@dataclass(frozen=True)
class Space:
    """Designs on one machine's memory."""

    source: str
    form: str
    notes: list[str]
    segments: list[tuple[int, int, int]]
    ram: int
    span: int  # the end of the last segment
    superpages: int  # with memory in them
    domains: list[int]
    designs: list[DesignSpace]
    savings: list[Saving]


def space(memory: MemoryMap, designs: Sequence[Design] | None = None) -> Space:
    """Count what designs take on a machine with this memory.

    The figures are those of the plan by which a run lays its tables out (`finegrain.lab.pv_space`). UserError for
    memory that the plan cannot be made for.
    """
    chosen = list(designs) if designs is not None else [parse_design(name) for name in DEFAULT_DESIGNS]
    counted = [_count(design, memory) for design in chosen]
    with_memory, last = 0, -1
    for segment in memory.segments:
        first = max(segment.start // SUPERPAGE, last + 1)
        last = max(last, (segment.end - 1) // SUPERPAGE)
        with_memory += max(0, last - first + 1)
    return Space(
        source=memory.source,
        form=memory.form,
        notes=memory.notes,
        segments=[(start, end, domain) for start, end, domain in memory.segments],
        ram=memory.ram,
        span=memory.segments[-1].end,
        superpages=with_memory,
        domains=memory.domains,
        designs=counted,
        savings=_savings(memory),
    )


def _count(design: Design, memory: MemoryMap) -> DesignSpace:
    try:
        plan = pv_space(design, memory.segments)
    except ValueError as error:
        raise UserError(f"{memory.source}: {error}") from None
    by_domain: dict[int, int] = {}
    for region in plan.regions:
        by_domain[region.domain] = by_domain.get(region.domain, 0) + region.bytes
    populated = sum(by_domain.values())
    return DesignSpace(
        name=design.name,
        lock_bytes=plan.lock_bytes,
        struct_bytes=plan.struct_bytes,
        reserved=plan.reserved,
        populated=populated,
        pointers=sum(region.bytes for region in plan.regions if region.what == "pointers"),
        lost=sum(region.bytes - region.used for region in plan.regions),
        by_domain=dict(sorted(by_domain.items())),
        per_gb=populated / (memory.ram / GIB),
        share=populated / memory.ram,
    )


def _savings(memory: MemoryMap) -> list[Saving]:
    """The two ways: from pointers to a sparse table, with each lock; from the rw lock to a smaller one."""
    pointers, sparse = parse_design("superpage:table=pointers"), parse_design("superpage")

    def saving(way: str, before: Design, after: Design) -> Saving:
        return Saving(
            way,
            before.name,
            after.name,
            _count(before, memory).populated - _count(after, memory).populated,
        )

    def smaller(design: Design, lock: str) -> Design:
        separator = "," if ":" in design.name else ":"
        return replace(design, lock=lock, name=f"{design.name}{separator}lock={lock}")

    return [
        saving("table", pointers, sparse),
        *(saving("lock", pointers, smaller(pointers, lock)) for lock in SMALLER_LOCKS),
        *(saving("lock", sparse, smaller(sparse, lock)) for lock in SMALLER_LOCKS),
    ]
