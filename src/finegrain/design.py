"""How a design of the PV list lock is spelled: `LAYOUT[:option=value,...][+batch]`."""

from dataclasses import dataclass

from finegrain.errors import UserError

DEFAULT_DESIGNS = ("head", "superpage", "superpage+batch")

# FreeBSD head of September 2019: NPV_LIST_LOCKS is MAXCPU, 256 on amd64.
HEAD_LOCKS = 256
MAX_HASHED_LOCKS = 1 << 20

_LAYOUTS = {
    "head": (),
    "hashed": ("locks", "padded"),
    "superpage": ("table", "lock"),
}
_ONLY_VALUES = {"table": ("sparse",), "lock": ("rw",)}


@dataclass(frozen=True)
class Design:
    """A design of the PV list lock.

    `name` is the spelling it was given by. `hashed_locks` is the size of the hashed array, 0 for a lock per 2 MB
    superpage; `padded` gives each hashed lock a cache line of its own; with `batch`, pmap_remove_pages frees the
    chunks that it empties after it has dropped the PV list lock.
    """

    name: str
    hashed_locks: int
    padded: bool = False
    batch: bool = False


def parse_design(text: str) -> Design:
    """Read a design's spelling; UserError names what is allowed."""
    body, plus, suffix = text.partition("+")
    if plus and suffix != "batch":
        raise UserError(f"design {text!r}: unknown suffix '+{suffix}'; the only one is '+batch'")
    layout, _, option_text = body.partition(":")
    if layout not in _LAYOUTS:
        raise UserError(f"design {text!r}: unknown layout {layout!r}; there are {', '.join(_LAYOUTS)}")
    options = _parse_options(text, layout, option_text)
    if layout == "superpage":
        return Design(text, 0, batch=bool(plus))
    locks = HEAD_LOCKS
    if "locks" in options:
        value = options["locks"]
        if not value.isdecimal() or not 1 <= int(value) <= MAX_HASHED_LOCKS:
            raise UserError(f"design {text!r}: locks={value}: give a number from 1 to {MAX_HASHED_LOCKS}")
        locks = int(value)
    return Design(text, locks, padded="padded" in options, batch=bool(plus))


def _parse_options(text: str, layout: str, option_text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    allowed = _LAYOUTS[layout]
    for item in option_text.split(",") if option_text else []:
        key, equals, value = item.partition("=")
        if key not in allowed:
            known = ", ".join(allowed) if allowed else "none"
            raise UserError(f"design {text!r}: unknown option {key!r}; {layout} allows: {known}")
        if key == "padded":
            if equals:
                raise UserError(f"design {text!r}: 'padded' takes no value")
        elif not equals or not value:
            raise UserError(f"design {text!r}: option {key!r} needs a value")
        if key in _ONLY_VALUES and value not in _ONLY_VALUES[key]:
            raise UserError(f"design {text!r}: {key}={value}: allowed: {', '.join(_ONLY_VALUES[key])}")
        if key in options:
            raise UserError(f"design {text!r}: option {key!r} given twice")
        options[key] = value
    return options


def parse_designs(text: str) -> list[Design]:
    """Read a list of designs, separated by blanks or by commas that are not within options.

    A comma separates designs when a layout's name follows it: `head,hashed:locks=512,padded,superpage` is three.
    """
    pieces: list[str] = []
    for item in text.replace(" ", ",").split(","):
        if not item:
            continue
        head = item.partition("+")[0].partition(":")[0]
        if pieces and head not in _LAYOUTS and ":" in pieces[-1] and "+" not in pieces[-1]:
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
