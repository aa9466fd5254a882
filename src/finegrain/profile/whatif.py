"""What splitting a lock would leave of its waiting, from a profile's acquisitions and holds alone."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from finegrain.errors import UserError
from finegrain.profile.group import grouped
from finegrain.profile.names import printable
from finegrain.profile.queueing import closed, open_wait, think_time
from finegrain.profile.render import figure, seconds, text_table
from finegrain.profile.table import Profile

SCHEMA = "finegrain.whatif/1"
MAX_LOCKS = 10_000_000
MAX_THREADS = 100_000

_SPLIT = re.compile(r"(.+)=(?:(\d{1,8}):)?(\d{1,8})")


@dataclass(frozen=True, slots=True)
class Split:
    """A lock that is `now` locks is to be `then` locks."""

    lock: str
    now: int
    then: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one split would leave; times in microseconds over the span.

    `wait_us` is the measured waiting (None where the profile has none), `model_us` what the model says
    of the lock as it is, `uniform_us` and `single_us` of the split lock if its use spreads evenly, and
    if all of it falls on one part.
    """

    lock: str
    now: int
    then: int
    count: int
    hold_avg_us: float
    use: float
    wait_us: float | None
    model_us: float
    uniform_us: float
    single_us: float | None

    @property
    def left(self) -> float | None:
        """The part of the waiting that an even split leaves; None where there was none."""
        return self.uniform_us / self.model_us if self.model_us > 0 else None


@dataclass(frozen=True, slots=True)
class Answer:
    """Estimates, and the other locks by use: (name, part of the span it was held)."""

    profile: str
    span_s: float
    threads: int | None
    estimates: tuple[Estimate, ...]
    uses: tuple[tuple[str, float], ...]
    assumptions: tuple[str, ...]


def parse_split(text: str) -> Split:
    """`NAME=512`, or `NAME=256:512` for a name that is 256 locks already; UserError for anything else."""
    match = _SPLIT.fullmatch(text.strip())
    if not match:
        raise UserError(f"--split {text!r}: write LOCK=K or LOCK=NOW:K, such as 'pmap pv list=512'")
    now, then = int(match[2] or 1), int(match[3])
    if not (1 <= now <= MAX_LOCKS and 1 <= then <= MAX_LOCKS):
        raise UserError(f"--split {text!r}: from 1 to {MAX_LOCKS:,} locks")
    return Split(match[1].strip(), now, then)


def _find(rows: list[dict[str, Any]], lock: str, profile: Profile) -> dict[str, Any]:
    found = [row for row in rows if row["name"] == lock] or [row for row in rows if row["lock"] == lock]
    if not found:
        near = [row["name"] for row in rows if lock.casefold() in row["name"].casefold()][:3]
        hint = f"; did you mean {', '.join(near)}?" if near else "; 'finegrain profile show' lists them"
        raise UserError(printable(f"{profile.name}: no lock {lock!r}{hint}"))
    if len(found) > 1:
        raise UserError(
            printable(f"{profile.name}: {lock!r} is {' and '.join(row['name'] for row in found)}; say which")
        )
    return found[0]


def whatif(
    profile: Profile, splits: list[Split], *, cpus: int | None = None, span: float | None = None
) -> Answer:
    """Estimate the waiting that `splits` leave.

    `cpus` threads take the lock (default: the profile's CPUs, else threads without end), over `span`
    seconds (default: the profile's own).  Raises UserError when the profile cannot say: no holds, no
    span, or a lock that was held more often than one lock can be.
    """
    span = profile.span_s if span is None else span
    if span is None:
        raise UserError(f"{profile.name} does not say how long it was taken; give --span 90m or the like")
    threads = cpus if cpus is not None else profile.cpus
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UserError(f"--cpus {threads}: from 1 to {MAX_THREADS:,}")
    group = grouped(profile, "lock")
    rows = group.table.to_dicts()
    if group.by != "lock":
        raise UserError(f"{profile.name}: {profile.format} does not name locks; there is nothing to split")
    span_us = span * 1e6
    estimates = tuple(
        _estimate(profile, _find(rows, split.lock, profile), split, threads, span_us) for split in splits
    )
    uses = {row["name"]: row["hold_us"] / span_us for row in rows if row["hold_us"] is not None}
    for estimate in estimates:
        uses[estimate.lock] = estimate.use / estimate.then
    ordered = tuple(sorted(uses.items(), key=lambda item: (-item[1], item[0])))
    return Answer(profile.name, span, threads, estimates, ordered, _assumptions(threads, cpus is None))


def _assumptions(threads: int | None, from_profile: bool) -> tuple[str, ...]:
    if threads is None:
        who = "threads without end (no --cpus): an upper bound, since waiting slows no one down"
    else:
        told = ", the profile's CPUs" if from_profile else ""
        who = f"{threads:,} threads{told}, each thinking, taking one lock, holding it, and so on (M/M/1//N)"
    return (
        who,
        "holds are exclusive (readers do not share) and exponential with the measured mean; equal holds "
        "would wait about half as long where locks are little used",
        "the same acquisitions with the same holds in the same span: holds get no shorter by the split, and "
        "hand-over costs, bursts and time off the CPU are not modelled",
        "optimistic: every part is used alike; pessimistic: all use falls on one part",
    )


def _estimate(
    profile: Profile, row: dict[str, Any], split: Split, threads: int | None, span_us: float
) -> Estimate:
    name, count, hold = row["name"], row["count"], row["hold_us"]
    if not count or hold is None:
        raise UserError(
            printable(f"{profile.name}: {profile.format} tells no acquisitions or no holds of {name}")
        )
    mean, rate = hold / count, count / span_us
    use = hold / span_us
    crowded = UserError(
        printable(
            f"{profile.name}: {name} was held {use:.3g} at a time, too much for {split.now:,} lock(s); "
            f"say how many locks have this name (--split 'NAME=NOW:{split.then}'), or check --span and --cpus"
        )
    )
    single: float | None
    if threads is None:
        now, uniform, single = (open_wait(locks, mean, rate) for locks in (split.now, split.then, 1))
        if now is None or uniform is None:
            raise crowded
    else:
        think = think_time(threads, split.now, mean, rate) if mean > 0 else 0.0
        if think is None:
            raise crowded
        now, uniform, single = (
            closed(threads, locks, mean, think)[1] for locks in (split.now, split.then, 1)
        )
    return Estimate(
        lock=name,
        now=split.now,
        then=split.then,
        count=count,
        hold_avg_us=mean,
        use=use,
        wait_us=row["wait_us"],
        model_us=now * count,
        uniform_us=uniform * count,
        single_us=None if single is None else single * count,
    )


def as_json(answer: Answer) -> str:
    """The answer, full precision."""
    document = {
        "schema": SCHEMA,
        "profile": answer.profile,
        "span_s": answer.span_s,
        "cpus": answer.threads,
        "splits": [asdict(estimate) | {"left": estimate.left} for estimate in answer.estimates],
        "use_after": [list(pair) for pair in answer.uses],
        "assumptions": answer.assumptions,
    }
    return json.dumps(document, indent=1, allow_nan=False)


def text(answer: Answer, top: int = 5) -> str:
    """The answer for people: what was measured, what the model says, the bounds, the next lock."""
    lines = []
    for estimate in answer.estimates:
        counted = f"{estimate.count:,} acquisitions, mean hold {figure(estimate.hold_avg_us)} us"
        lines += [
            f"{estimate.lock}: {counted}, held {estimate.use / estimate.now:.2%} of {seconds(answer.span_s)}",
            "",
        ]
        lines += [text_table(["", "locks", "wait (us)", "of today's"], _bounds(estimate), left=(0,)), ""]
        if (
            estimate.wait_us is not None
            and estimate.model_us > 0
            and estimate.wait_us > 3 * estimate.model_us
        ):
            lines += [
                f"The measured wait is {estimate.wait_us / estimate.model_us:.3g} x the model's: use comes in "
                "bursts or is uneven, or a wait costs more than the holds ahead of it. Trust the pessimistic end.",
                "",
            ]
    over = [(name, use) for name, use in answer.uses if use >= 1]
    under = [(name, use) for name, use in answer.uses if use < 1]
    if under:
        name, use = under[0]
        if use > 0:
            lines.append(
                f"Saturates next: {name}, held {use:.2%} of the time: full at {1 / use:.3g} x today's load."
            )
        listed = [[name, f"{use:.2%}", f"{1 / use:.3g} x" if use else "-"] for name, use in under[:top]]
        lines += ["", text_table(["lock", "held", "full at"], listed, left=(0,)), ""]
    if over:
        names = ", ".join(f"{name} ({use:.3g} at a time)" for name, use in over[:top])
        lines += [f"Not ranked, being more than one lock (or shared) by their holds: {names}", ""]
    lines += ["Assumed:", *[f"  - {text}" for text in answer.assumptions]]
    return printable_lines(lines)


def _bounds(estimate: Estimate) -> list[list[str | int | float | None]]:
    base = estimate.model_us

    def share(value: float | None) -> str:
        return f"{value / base:.2%}" if base > 0 and value is not None else "-"

    rows: list[list[str | int | float | None]] = [["measured", estimate.now, estimate.wait_us, ""]]
    rows.append(["model of today", estimate.now, estimate.model_us, share(estimate.model_us)])
    rows.append(["split, optimistic", estimate.then, estimate.uniform_us, share(estimate.uniform_us)])
    rows.append(["split, pessimistic", estimate.then, estimate.single_us, share(estimate.single_us)])
    if estimate.wait_us is not None and estimate.left is not None:
        rows.append(["measured x optimistic", estimate.then, estimate.wait_us * estimate.left, ""])
    return rows


def printable_lines(lines: list[str]) -> str:
    """Lines of text, each made safe to print."""
    return "\n".join("\n".join(printable(part) for part in line.split("\n")) for line in lines)
