"""What splitting a lock would leave of its waiting, from a profile's acquisitions and holds alone."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from finegrain.errors import UserError
from finegrain.profile.evidence import Evidence, evidence
from finegrain.profile.group import grouped
from finegrain.profile.queueing import closed, met, open_wait, partitioned, think_time
from finegrain.profile.spans import agreed_span
from finegrain.profile.table import Profile

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
    of the lock as it is.  Of the split lock, `partitioned_us` if every user keeps to a part, `random_us` if every
    acquisition is of any part, `single_us` if all are of one; None where that part could not keep up.
    `evidence` is what the profile says of which it is.
    """

    lock: str
    now: int
    then: int
    count: int
    hold_avg_us: float
    use: float
    wait_us: float | None
    model_us: float
    partitioned_us: float | None
    random_us: float
    single_us: float | None
    evidence: tuple[Evidence, ...]

    def left(self, case_us: float | None) -> float | None:
        """The part of the waiting that a case leaves; None where there was none or it is not told."""
        return case_us / self.model_us if self.model_us > 0 and case_us is not None else None


@dataclass(frozen=True, slots=True)
class Answer:
    """Estimates, and the other locks by use: (name, part of the span it was held).

    `threads` use the locks, None: without end; `own_cpus` says that they are the profile's CPUs.  They are those of
    `users`, each of which would keep to a part; None: every thread is one.
    """

    profile: str
    span_s: float
    threads: int | None
    estimates: tuple[Estimate, ...]
    uses: tuple[tuple[str, float], ...]
    own_cpus: bool
    users: int | None = None


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
        raise UserError(f"{profile.name}: no lock {lock!r}{hint}")
    if len(found) > 1:
        raise UserError(
            f"{profile.name}: {lock!r} is {' and '.join(row['name'] for row in found)}; say which"
        )
    return found[0]


def whatif(
    profile: Profile,
    splits: list[Split],
    *,
    cpus: int | None = None,
    span: float | None = None,
    users: int | None = None,
    others: Sequence[Profile] = (),
) -> Answer:
    """Estimate the waiting that `splits` leave.

    `cpus` threads take the lock (default: the profile's CPUs, else threads without end), over `span` seconds
    (default: the profile's own); they belong to `users` (default: every thread is one).  `others` are profiles of
    the same load that may say how the locks are used.  Raises UserError when the
    profile cannot say: no holds, no span, or a lock that was held more often than one lock can be.
    """
    span = agreed_span(span, profile.span_s, profile.name)
    if span is None:
        raise UserError(f"{profile.name} does not say how long it was taken; give --span 90m or the like")
    threads = cpus if cpus is not None else profile.cpus
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UserError(f"--cpus {threads}: from 1 to {MAX_THREADS:,}")
    if users is not None and not 1 <= users <= (threads or MAX_THREADS):
        raise UserError(f"--users {users}: from 1 to {threads or MAX_THREADS:,}, the threads that there are")
    group = grouped(profile, "lock")
    rows = group.table.to_dicts()
    named = [_find(rows, split.lock, profile)["name"] for split in splits] if group.by == "lock" else []
    for name in named:
        if named.count(name) > 1:
            raise UserError(f"--split: {name} is split twice; give it one number of locks")
    if group.by != "lock":
        raise UserError(f"{profile.name}: {profile.format} does not name locks; there is nothing to split")
    span_us = span * 1e6
    estimates = tuple(
        _estimate(profile, _find(rows, split.lock, profile), split, threads, users, span_us, others)
        for split in splits
    )
    uses = {row["name"]: row["hold_us"] / span_us for row in rows if row["hold_us"] is not None}
    for estimate in estimates:
        uses[estimate.lock] = estimate.use / estimate.then
    ordered = tuple(sorted(uses.items(), key=lambda item: (-item[1], item[0])))
    return Answer(profile.name, span, threads, estimates, ordered, own_cpus=cpus is None, users=users)


def _estimate(
    profile: Profile,
    row: dict[str, Any],
    split: Split,
    threads: int | None,
    users: int | None,
    span_us: float,
    others: Sequence[Profile],
) -> Estimate:
    name, count, hold = row["name"], row["count"], row["hold_us"]
    if not count or hold is None:
        raise UserError(f"{profile.name}: {profile.format} tells no acquisitions or no holds of {name}")
    mean, rate = hold / count, count / span_us
    use = hold / span_us
    crowded = UserError(
        f"{profile.name}: {name} was held {use:.3g} at a time, too much for {split.now:,} lock(s); "
        f"say how many locks have this name (--split 'NAME=NOW:{split.then}'), or check --span and --cpus"
    )
    seen: Callable[[int], float]
    single: float | None
    apart: float | None
    if threads is None:
        now, random, single = (open_wait(locks, mean, rate) for locks in (split.now, split.then, 1))
        if now is None or random is None:
            raise crowded
        # threads without end that meet no other; or the users' own threads, which do
        apart = open_wait(min(split.then, users), mean, rate) if users else 0.0
        seen = partial(_open_met, use)
    else:
        think = think_time(threads, split.now, mean, rate) if mean > 0 else 0.0
        if think is None:
            raise crowded
        now, random, single = (closed(threads, locks, mean, think)[1] for locks in (split.now, split.then, 1))
        apart = partitioned(threads, min(split.then, users or threads), mean, think)[1]
        seen = partial(_closed_met, threads, mean, think)
    return Estimate(
        lock=name,
        now=split.now,
        then=split.then,
        count=count,
        hold_avg_us=mean,
        use=use,
        wait_us=row["wait_us"],
        model_us=now * count,
        partitioned_us=None if apart is None else apart * count,
        random_us=random * count,
        single_us=None if single is None else single * count,
        evidence=(
            *evidence(profile, row["lock"], lock_class=row["lock_class"], now=split.now, met=seen),
            *[one for other in others for one in evidence(other, row["lock"])],
        ),
    )


def _open_met(use: float, locks: int) -> float:
    return min(use / locks, 1.0)


def _closed_met(threads: int, hold: float, think: float, locks: int) -> float:
    return met(threads, locks, hold, think)
