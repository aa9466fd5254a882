"""Which lock of one profile is which of another: the same name, else by rules that are told."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from finegrain.profile.group import row_name
from finegrain.profile.names import RULES

Key = tuple[str | None, str | None, str | None]  # class, lock, site


@dataclass(slots=True)
class Matched:
    """`rows[at][file]` is the key that row `at` has in that file, or None; `notes` what rules did."""

    rows: list[list[Key | None]]
    notes: list[str] = field(default_factory=list)

    def name(self, at: int) -> str:
        """A row's name: that of the first file that has it."""
        return row_name(*next(key for key in self.rows[at] if key is not None))


def match(files: Sequence[Sequence[Key]], *, exact: bool = False) -> Matched:
    """Join the keys of several profiles.

    Equal names join first.  Then each rule of `names.RULES` in turn joins what is still alone, and only
    where it leaves no choice: one row here, one there.  Every join by a rule, and every choice that was
    not made, is noted.
    """
    result = Matched([])
    for at, keys in enumerate(files):
        _add(result, at, keys, len(files), exact)
    return result


def _add(result: Matched, at: int, keys: Sequence[Key], count: int, exact: bool) -> None:
    where: dict[Key, int] = {}
    for row, known in enumerate(result.rows):
        for key in known:
            if key is not None:
                where.setdefault(key, row)
    alone = []
    for key in keys:
        same = where.get(key)
        if same is not None and result.rows[same][at] is None:
            result.rows[same][at] = key
        else:
            alone.append(key)
    for text, rule in () if exact else RULES:
        theirs: dict[str, list[Key]] = defaultdict(list)
        ours: dict[str, list[int]] = defaultdict(list)
        for key in alone:
            theirs[f"{rule(key[0], key[1] or '')} at {key[2]}"].append(key)
        for row, known in enumerate(result.rows):
            if known[at] is None:
                first = next(key for key in known if key is not None)
                ours[f"{rule(first[0], first[1] or '')} at {first[2]}"].append(row)
        for normal, found in theirs.items():
            rows = ours.get(normal, [])
            if not rows:
                continue
            if len(found) == 1 and len(rows) == 1:
                result.rows[rows[0]][at] = found[0]
                alone.remove(found[0])
                result.notes.append(f"{row_name(*found[0])} is taken for {result.name(rows[0])}: {text}")
            else:
                names = ", ".join([row_name(*key) for key in found] + [result.name(row) for row in rows])
                note = f"left apart, {text} would join more than two: {names}"
                if note not in result.notes:
                    result.notes.append(note)
    result.rows += [[key if file == at else None for file in range(count)] for key in alone]
