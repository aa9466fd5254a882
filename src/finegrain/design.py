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
    layout: str  # hashed: one array for all memory; superpage: a lock per 2 MB of it
    locks: int = 0  # hashed: how many, else 0
    padded: bool = False  # hashed: each lock has a cache line of its own
    table: str = "sparse"  # superpage: how a superpage's struct is found
    lock: str = "rw"  # superpage: the kind of lock
    batch: bool = (
        False  # pmap_remove_pages frees the chunks that it empties after it has dropped the PV list lock
    )


@dataclass(frozen=True)
class Layout:
    """What a spelling stands for: a layout, the options that may follow, and the fields before any does."""

    layout: str
    options: tuple[str, ...]
    fields: dict[str, Any]


LAYOUTS: Final = {
    "head": Layout("hashed", (), {"locks": HEAD_LOCKS}),
    "hashed": Layout("hashed", ("locks", "padded"), {"locks": HEAD_LOCKS}),
    "superpage": Layout("superpage", ("table", "lock"), {}),
}

# What an option may be: a number, one of some words, or nothing but there (None).
OPTIONS: Final[dict[str, range | tuple[str, ...] | None]] = {
    "locks": range(1, MAX_HASHED_LOCKS + 1),
    "padded": None,
    "table": ("sparse",),
    "lock": ("rw",),
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
        parsed = _value(text, key, value if equals else None)
        if key in given:
            raise UserError(f"design {text!r}: option {key!r} given twice")
        given[key] = parsed
    return Design(text, layout.layout, **(layout.fields | given), batch=bool(plus))


def _value(text: str, key: str, value: str | None) -> int | str | bool:
    """The value of an option, None where no `=` follows it."""
    allowed = OPTIONS[key]
    if allowed is None:
        if value is not None:
            raise UserError(f"design {text!r}: {key!r} takes no value")
        return True
    if not value:
        raise UserError(f"design {text!r}: option {key!r} needs a value")
    if isinstance(allowed, range):
        if not value.isdecimal() or int(value) not in allowed:
            bounds = f"from {allowed.start} to {allowed.stop - 1}"
            raise UserError(f"design {text!r}: {key}={value}: give a number {bounds}")
        return int(value)
    if value not in allowed:
        raise UserError(f"design {text!r}: {key}={value}: allowed: {', '.join(allowed)}")
    return value


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
    names = [design.name for design in designs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"design {name!r} given twice")
    return designs
