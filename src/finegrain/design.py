"""Designs of the PV list lock as data, and how they are spelled: `LAYOUT[:option=value,...][+batch]`.

LAYOUTS and OPTIONS are all that there is to choose: a layout is a row of the one, a choice a value in the other.
"""

from dataclasses import dataclass
from typing import Any, Final

from finegrain.errors import UserError

DEFAULT_DESIGNS: Final = ("head", "superpage", "superpage+batch")

# FreeBSD head of September 2019: NPV_LIST_LOCKS is MAXCPU, 256 on amd64.
HEAD_LOCKS: Final = 256
MAX_HASHED_LOCKS: Final = 1 << 20


@dataclass(frozen=True)
class Design:
    """A design of the PV list lock; `name` is the spelling it was given by."""

    name: str
    layout: str  # hashed: one array for all memory; superpage: a struct with a lock per 2 MB of it
    locks: int = 0  # hashed: how many, else 0
    pad: int = 0  # each lock of the array, or each struct, is rounded up to so many bytes; 0: packed
    table: str = "sparse"  # superpage: how a superpage's struct is found
    lock: str = "rw"  # the kind of lock
    batch: bool = (
        False  # pmap_remove_pages frees the chunks that it empties after it has dropped the PV list lock
    )

    @property
    def key(self) -> tuple[str | int | bool, ...]:
        """What is built: equal for two spellings of one design."""
        size = SIZES[self.layout][self.lock]
        unit = self.pad or 1
        return self.layout, self.locks, self.table, self.lock, (size + unit - 1) // unit * unit, self.batch


@dataclass(frozen=True)
class Layout:
    """What a spelling stands for: a layout, the options that may follow, and the fields before any does."""

    layout: str
    options: tuple[str, ...]
    fields: dict[str, Any]


LAYOUTS: Final = {
    "head": Layout("hashed", (), {"locks": HEAD_LOCKS}),
    "hashed": Layout("hashed", ("locks", "lock", "pad", "padded"), {"locks": HEAD_LOCKS}),
    "superpage": Layout("superpage", ("table", "lock", "pad", "padded"), {}),
}

SIZES: Final = {
    "hashed": {"rw": 32, "mtx": 32, "mtx8": 8},
    "superpage": {"rw": 64, "mtx": 64, "mtx8": 40, "bit2": 32},
}
"""Bytes of what is padded, by layout and kind of lock: a lock, or a struct with lock, list head and generation. The
kinds that a layout allows. See kernel/pmap/pvtable.pyx."""

# CACHE_LINE_SIZE of FreeBSD/amd64, what its *_padalign locks are rounded up to: a pair of lines.
PADDED: Final = 128

# What an option may be: a number out of a range or a few, one of some words, or nothing but there (None).
OPTIONS: Final[dict[str, range | tuple[int, ...] | tuple[str, ...] | None]] = {
    "locks": range(1, MAX_HASHED_LOCKS + 1),
    "lock": ("rw", "mtx", "mtx8", "bit2"),
    "pad": (64, PADDED),
    "padded": None,
    "table": ("sparse", "filled", "pointers"),
}


def parse_design(text: str) -> Design:
    """Read a design's spelling; UserError names what is allowed."""
    body, plus, suffix = text.partition("+")
    if plus and suffix != "batch":
        raise UserError(f"design {text!r}: unknown suffix '+{suffix}'; the only one is '+batch'")
    spelling, _, option_text = body.partition(":")
    if spelling not in LAYOUTS:
        raise UserError(f"design {text!r}: unknown layout {spelling!r}; there are {', '.join(LAYOUTS)}")
    layout = LAYOUTS[spelling]
    given: dict[str, Any] = {}
    for item in option_text.split(",") if option_text else []:
        key, equals, value = item.partition("=")
        if key not in layout.options:
            known = ", ".join(layout.options) or "none"
            raise UserError(f"design {text!r}: unknown option {key!r}; {spelling} allows: {known}")
        parsed = _value(text, layout, key, value if equals else None)
        if key == "padded":
            key = "pad"
        if key in given:
            raise UserError(f"design {text!r}: option {key!r} given twice")
        given[key] = parsed
    return Design(text, layout.layout, **(layout.fields | given), batch=bool(plus))


def _value(text: str, layout: Layout, key: str, value: str | None) -> int | str:
    """The value of an option, None where no `=` follows it."""
    allowed = OPTIONS[key]
    if key == "lock":
        allowed = tuple(SIZES[layout.layout])
    if allowed is None:
        if value is not None:
            raise UserError(f"design {text!r}: {key!r} takes no value")
        return PADDED
    if not value:
        raise UserError(f"design {text!r}: option {key!r} needs a value")
    if isinstance(allowed, range):
        if not value.isdecimal() or int(value) not in allowed:
            bounds = f"from {allowed.start} to {allowed.stop - 1}"
            raise UserError(f"design {text!r}: {key}={value}: give a number {bounds}")
        return int(value)
    for choice in allowed:
        if value == str(choice):
            return choice
    raise UserError(f"design {text!r}: {key}={value}: allowed: {', '.join(map(str, allowed))}")


def parse_designs(text: str) -> list[Design]:
    """Read a list of designs, separated by blanks or by commas that are not within options.

    A comma separates designs when a layout's name follows it: `head,hashed:locks=512,padded,superpage` is three.
    """
    pieces: list[str] = []
    for item in text.replace(" ", ",").split(","):
        if not item:
            continue
        head = item.partition("+")[0].partition(":")[0]
        if pieces and head not in LAYOUTS and ":" in pieces[-1] and "+" not in pieces[-1]:
            pieces[-1] += "," + item
        else:
            pieces.append(item)
    if not pieces:
        raise UserError("no design given; for example: --designs head,superpage")
    designs = [parse_design(piece) for piece in pieces]
    check_distinct(designs)
    return designs


def check_distinct(designs: list[Design]) -> None:
    """Refuse two designs that are one, however they are spelled."""
    seen: dict[tuple[str | int | bool, ...], Design] = {}
    for design in designs:
        other = seen.setdefault(design.key, design)
        if other is not design:
            spelled = "" if other.name == design.name else f", as {other.name!r} is the same"
            raise UserError(f"design {design.name!r} given twice{spelled}")
