"""Which lock of one profile is which of another: the same name, else by rules that are told."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from finegrain.errors import UserError
from finegrain.profile.group import Key
from finegrain.profile.names import CLASS_LEFT_OUT, NAME_RULES, SITE_RULES, full_name, ordinal

SAME = "--same"


@dataclass(frozen=True, slots=True)
class Join:
    """In one profile `theirs` is what the row `ours` is called: `rule` says why."""

    rule: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Apart:
    """Names that `rule` would join, were they not more than two."""

    rule: str
    names: tuple[str, ...]


@dataclass(slots=True)
class Matched:
    """`rows[at][file]` is the key that row `at` has in that file, or None; the rest tells what rules did."""

    rows: list[list[Key | None]]
    joins: list[Join] = field(default_factory=list)
    apart: list[Apart] = field(default_factory=list)

    def key(self, at: int) -> Key:
        """A row's key: that of the first file that has it."""
        return next(key for key in self.rows[at] if key is not None)


Normal = Callable[[Key], str | None]


def _name_rule(rule: Callable[[str | None, str], str]) -> Normal:
    return lambda key: f"{rule(key.lock_class, key.lock or '')} at {key.site} {key.mode}"


def _class_rule(key: Key) -> str | None:
    """Leave the class out: of a lock by its name; never where the class is all that is known."""
    if key.lock is not None:
        return f"{CLASS_LEFT_OUT[1](None, key.lock)} at {key.site} {key.mode}"
    return None


def _untold_class_rule(key: Key) -> str | None:
    """The same of a caller, whose lock has no name, where one profile does not tell a class."""
    return f"{key.site} {key.mode}" if key.lock is None and key.site is not None else None


def _site_rule(rule: Callable[[str], str]) -> Normal:
    name = NAME_RULES[-1][1]  # the marks of names are gone by then

    def normal(key: Key) -> str | None:
        if key.site is None:
            return None
        return f"{name(key.lock_class, key.lock or '')} at {rule(key.site)} {key.mode}"

    return normal


# Each rule in this order for what the ones before it left alone; `in_order`: places that moved keep their order.
_RULES: tuple[tuple[str, Normal, bool], ...] = (
    *((text, _name_rule(rule), False) for text, rule in NAME_RULES),
    *((text, _site_rule(rule), True) for text, rule in SITE_RULES),
    (CLASS_LEFT_OUT[0], _class_rule, False),
    (CLASS_LEFT_OUT[0], _untold_class_rule, False),
)


def match(files: Sequence[Sequence[Key]], *, exact: bool = False, same: Sequence[str] = ()) -> Matched:
    """Join the keys of several profiles.

    What `same` says joins first: `A=B` for a lock that is called A in one profile and B in others.  Then equal
    names.  Then each rule in turn joins what is still alone, and only where it leaves no choice: one row here, one
    there, or as many places in a function or file here as there, in their order.  Every join by a rule, and every
    choice that was not made, is told.  UserError for a name in `same` that no profile has, or one profile both.
    """
    result = Matched([])
    aliases = _aliases(files, same)
    for at, keys in enumerate(files):
        _add(result, at, keys, aliases, exact)
    return result


def _named(keys: Iterable[Key], name: str) -> list[Key]:
    """The keys of a lock by its name, with its class or without."""
    keys = list(keys)
    found = [key for key in keys if name in (key.name, full_name(key.lock_class, key.lock))]
    return found or [key for key in keys if name == key.lock]


def _aliases(files: Sequence[Sequence[Key]], same: Sequence[str]) -> list[dict[Key, Key]]:
    """For each file, the keys that `same` gives another key."""
    aliases: list[dict[Key, Key]] = [{} for _ in files]
    for text in same:
        left, right = _halves(files, text)
        ours = next(found for keys in files if (found := _named(keys, left)))[0]
        seen: set[tuple[str | None, str | None]] = set()
        for at, keys in enumerate(files):
            theirs = _named(keys, right)
            seen |= {(key.lock_class, key.lock) for key in theirs}
            if theirs and _named(keys, left):
                raise UserError(f"--same {text!r}: profile {at + 1} has both: they are two locks there")
            for key in theirs:
                aliases[at][key] = (
                    ours
                    if key.lock is None or key.name == right
                    else key._replace(lock_class=ours.lock_class, lock=ours.lock)
                )
        if len(seen) > 1:
            names = ", ".join(sorted(full_name(*name) for name in seen))
            raise UserError(f"--same {text!r}: {right!r} is {names}; give the class too")
    return aliases


def _halves(files: Sequence[Sequence[Key]], text: str) -> tuple[str, str]:
    """The two names of `A=B`; either may hold an equals sign."""
    every = [key for keys in files for key in keys]
    halves = [(text[:at].strip(), text[at + 1 :].strip()) for at, char in enumerate(text) if char == "="]
    if not halves:
        raise UserError(f"--same {text!r}: write OLD=NEW, the names of one lock in two profiles")
    for left, right in halves:
        if _named(every, left) and _named(every, right):
            return left, right
    missing = [name for name in halves[0] if not _named(every, name)]
    raise UserError(f"--same {text!r}: no profile has a lock {missing[0]!r}")


def _add(result: Matched, at: int, keys: Sequence[Key], aliases: list[dict[Key, Key]], exact: bool) -> None:
    def alias(file: int, key: Key) -> Key:
        return aliases[file].get(key, key)

    def row_alias(row: int) -> Key:
        return next(alias(file, key) for file, key in enumerate(result.rows[row]) if key is not None)

    where: dict[Key, int] = {}
    for row, known in enumerate(result.rows):
        for file, key in enumerate(known):
            if key is not None:
                where.setdefault(alias(file, key), row)
    alone: dict[Key, None] = {}
    shifted = {} if exact else _shifted([row_alias(row) for row in range(len(result.rows))], keys)
    for key in keys:
        row_at = shifted.get(key, where.get(alias(at, key)))
        if row_at is not None and result.rows[row_at][at] is None:
            known = result.rows[row_at]
            named = key in aliases[at] or any(
                other in aliases[file] for file, other in enumerate(known) if other
            )
            known[at] = key
            if key in shifted and alias(at, key) != row_alias(row_at):
                result.joins.append(Join(SITE_RULES[1][0], result.key(row_at).name, key.name))
            elif named and key != result.key(row_at):
                result.joins.append(Join(SAME, result.key(row_at).name, key.name))
        else:
            alone[key] = None
    for text, rule, in_order in () if exact else _RULES:
        theirs: dict[str, list[Key]] = defaultdict(list)
        ours: dict[str, list[int]] = defaultdict(list)
        for key in alone:
            if (normal := rule(alias(at, key))) is not None:
                theirs[normal].append(key)
        for row, known in enumerate(result.rows):
            if known[at] is None and (normal := rule(row_alias(row))) is not None:
                ours[normal].append(row)
        for normal, found in theirs.items():
            rows = ours.get(normal, [])
            if rows and _fit(result, rule, found, rows, in_order):
                if in_order:
                    found.sort(key=lambda key: ordinal(key.site))
                    rows.sort(key=lambda row: ordinal(result.key(row).site))
                for key, row in zip(found, rows, strict=True):
                    result.rows[row][at] = key
                    del alone[key]
                    result.joins.append(Join(text, result.key(row).name, key.name))
            elif rows and len(found) + len(rows) > 2:
                names = [key.name for key in found] + [result.key(row).name for row in rows]
                apart = Apart(text, tuple(names))
                if apart not in result.apart:
                    result.apart.append(apart)
    for key in alone:
        result.rows.append([key if file == at else None for file in range(len(aliases))])


def _shifted(rows: Sequence[Key], keys: Sequence[Key]) -> dict[Key, int]:
    """Places of a function or file that moved so far that one now stands where another did: joined in their order.

    There are as many on both sides, and to join those of one line would have the others pass them.
    """
    rule = _site_rule(SITE_RULES[1][1])
    ours: dict[str, list[int]] = defaultdict(list)
    theirs: dict[str, list[Key]] = defaultdict(list)
    for row, key in enumerate(rows):
        if (normal := rule(key)) is not None:
            ours[normal].append(row)
    for key in keys:
        if (normal := rule(key)) is not None:
            theirs[normal].append(key)
    result: dict[Key, int] = {}
    for normal, found in theirs.items():
        here = ours.get(normal, [])
        if len(here) != len(found) or len(found) < 2:
            continue
        here.sort(key=lambda row: ordinal(rows[row].site))
        found.sort(key=lambda key: ordinal(key.site))
        stood = {rows[row].site: at for at, row in enumerate(here)}
        if any(stood.get(key.site, at) != at for at, key in enumerate(found)):
            result |= dict(zip(found, here, strict=True))
    return result


def _fit(result: Matched, rule: Normal, found: list[Key], rows: list[int], in_order: bool) -> bool:
    """Is there no choice: one and one, or places in order?"""
    if rule is _untold_class_rule:
        classes = {key.lock_class for key in found} | {result.key(row).lock_class for row in rows}
        if None not in classes:
            return False
    return len(found) == len(rows) and (in_order or len(found) == 1)
