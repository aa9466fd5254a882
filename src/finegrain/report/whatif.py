"""What a finer lock would leave of its waiting, as text and JSON."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from finegrain.profile.evidence import PARTITIONED, RANDOM, SINGLE, Evidence
from finegrain.profile.whatif import Answer, Estimate
from finegrain.report.table import Column, Table, as_text
from finegrain.report.words import Cell, figure, plural, printable_lines, seconds

CASES = {PARTITIONED: "partitioned use", RANDOM: "random use", SINGLE: "all on one"}
SCHEMA = "finegrain.whatif/2"


def assumptions(answer: Answer) -> list[str]:
    """What the estimates take for granted, a line each."""
    threads = answer.threads
    if threads is None:
        who = "threads without end (no --cpus): an upper bound, since waiting slows no one down"
    else:
        told = ", the profile's CPUs" if answer.own_cpus else ""
        who = f"{threads:,} threads{told}, each thinking, taking one lock, holding it, and so on (M/M/1//N)"
    users = answer.users
    whose = "every thread is a user" if users is None else f"the threads are those of {plural(users, 'user')}"
    return [
        who,
        "holds are exclusive (readers do not share) and exponential with the measured mean; equal holds "
        "would wait about half as long where locks are little used",
        "the same acquisitions with the same holds in the same span: holds get no shorter by the split, and "
        "hand-over costs, bursts and time off the CPU are not modelled",
        f"partitioned use: every user keeps to a part, users spread evenly; {whose}",
        "random use: every acquisition is of any part, whoever makes it; all on one: of the same part, as "
        "it is of the same lock today, so that what was measured stays",
    ]


def as_json(answer: Answer) -> str:
    """The answer, full precision."""
    document = {
        "schema": SCHEMA,
        "profile": answer.profile,
        "span_s": answer.span_s,
        "cpus": answer.threads,
        "users": answer.users,
        "splits": [asdict(estimate) for estimate in answer.estimates],
        "use_after": [list(pair) for pair in answer.uses],
        "assumptions": assumptions(answer),
    }
    return json.dumps(document, indent=1, allow_nan=False)


def text(answer: Answer, top: int = 5, *, quiet: bool = False) -> str:
    """The answer for people: what was measured, what the model says of three cases, the next lock."""
    lines = []
    for estimate in answer.estimates:
        counted = f"{estimate.count:,} acquisitions, mean hold {figure(estimate.hold_avg_us)} us"
        lines += [
            f"{estimate.lock}: {counted}, held {estimate.use / estimate.now:.2%} of {seconds(answer.span_s)}",
            "",
        ]
        lines += [as_text(_cases(estimate)), "", *_evidence_lines(estimate.evidence), ""]
        if (
            estimate.wait_us is not None
            and estimate.model_us > 0
            and estimate.wait_us > 3 * estimate.model_us
        ):
            lines += [
                f"The measured wait is {estimate.wait_us / estimate.model_us:.3g} x the model's: use comes in "
                "bursts, or a wait costs more than the holds ahead of it. The last column grows with it.",
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
        columns = [Column("lock", left=True), Column("held"), Column("full at")]
        lines += ["", as_text(Table(columns, listed)), ""]
    if over:
        names = ", ".join(f"{name} ({use:.3g} at a time)" for name, use in over[:top])
        lines += [f"Not ranked, being more than one lock (or shared) by their holds: {names}", ""]
    if not quiet:
        lines += ["Assumed:", *[f"  - {text}" for text in assumptions(answer)]]
    return printable_lines(lines)


def _cases(estimate: Estimate) -> Table:
    rows: list[list[Cell]] = [["measured", estimate.now, estimate.wait_us, "", ""]]
    rows.append(["model of today", estimate.now, estimate.model_us, _part(estimate, estimate.model_us), ""])
    for case, value in (
        (PARTITIONED, estimate.partitioned_us),
        (RANDOM, estimate.random_us),
        (SINGLE, estimate.single_us),
    ):
        left = estimate.left(value)
        # if all use is of one part, it is of one lock today as well, and what was measured stays
        part = left if left is None or case != SINGLE else min(left, 1.0)
        scaled = None if estimate.wait_us is None or part is None else estimate.wait_us * part
        rows.append([f"split, {CASES[case]}", estimate.then, value, _part(estimate, value), scaled])
    headings = ("locks", "wait (us)", "of today's", "measured x that")
    return Table([Column("", left=True), *[Column(heading) for heading in headings]], rows)


def _part(estimate: Estimate, value: float | None) -> str:
    left = estimate.left(value)
    return "-" if left is None else f"{left:.2%}"


def _evidence_lines(found: tuple[Evidence, ...]) -> list[str]:
    """What the profile says of the case, and what would say more."""
    lines = ["Which of the three? The profile says:"]
    for one in found:
        case = f"speaks for {CASES[one.case]}" if one.case else "speaks for none by itself"
        lines.append(f"  - {_FACTS[one.kind](one.figures)}: {case}")
    if not found:
        lines = ["Which of the three? Nothing in the profile says."]
    if all(one.case is None for one in found):
        lines.append(
            "  What would say: the waits of its objects by address (perf lock contention -l, given as --evidence), "
            "or a run in which every user has an object of its own"
        )
    return lines


def _addresses(figures: dict[str, Any]) -> str:
    return (
        f"{figures['count']:,} locks are told apart, {figures['share']:.0%} of it at {figures['worst']}: as of "
        f"{figures['even']:.3g} used evenly"
    )


def _contended(figures: dict[str, Any]) -> str:
    return (
        f"{figures['found']:.2%} of acquisitions found it held; random use says {figures['random']:.2%}, all on one "
        f"{figures['single']:.2%}: as of {plural(figures['locks'], 'lock')} used evenly"
    )


def _callers(figures: dict[str, Any]) -> str:
    text = (
        f"waiters stood at {plural(figures['count'], 'place')}, {figures['share']:.0%} at {figures['worst']}"
    )
    if "holder" not in figures:
        return text
    same = figures["holder"] == figures["worst"]
    return f"{text}; holders most at {'the same' if same else figures['holder']}"


_FACTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "sharing": lambda figures: (
        f"in {figures['share']:.0%} of the waiting the holder worked on the same superpage"
    ),
    "addresses": _addresses,
    "contended": _contended,
    "callers": _callers,
}
