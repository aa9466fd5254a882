"""What a finer lock would leave of its waiting, as text and JSON."""

import json
from dataclasses import asdict

from finegrain.profile.whatif import Answer, Estimate
from finegrain.report.table import Column, Table, as_text
from finegrain.report.words import Cell, figure, printable_lines, seconds

SCHEMA = "finegrain.whatif/1"


def assumptions(answer: Answer) -> list[str]:
    """What the estimates take for granted, a line each."""
    threads = answer.threads
    if threads is None:
        who = "threads without end (no --cpus): an upper bound, since waiting slows no one down"
    else:
        told = ", the profile's CPUs" if answer.own_cpus else ""
        who = f"{threads:,} threads{told}, each thinking, taking one lock, holding it, and so on (M/M/1//N)"
    return [
        who,
        "holds are exclusive (readers do not share) and exponential with the measured mean; equal holds "
        "would wait about half as long where locks are little used",
        "the same acquisitions with the same holds in the same span: holds get no shorter by the split, and "
        "hand-over costs, bursts and time off the CPU are not modelled",
        "optimistic: every part is used alike; pessimistic: all use falls on one part",
    ]


def as_json(answer: Answer) -> str:
    """The answer, full precision."""
    document = {
        "schema": SCHEMA,
        "profile": answer.profile,
        "span_s": answer.span_s,
        "cpus": answer.threads,
        "splits": [asdict(estimate) | {"left": estimate.left} for estimate in answer.estimates],
        "use_after": [list(pair) for pair in answer.uses],
        "assumptions": assumptions(answer),
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
        lines += [as_text(_bounds(estimate)), ""]
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
        columns = [Column("lock", left=True), Column("held"), Column("full at")]
        lines += ["", as_text(Table(columns, listed)), ""]
    if over:
        names = ", ".join(f"{name} ({use:.3g} at a time)" for name, use in over[:top])
        lines += [f"Not ranked, being more than one lock (or shared) by their holds: {names}", ""]
    lines += ["Assumed:", *[f"  - {text}" for text in assumptions(answer)]]
    return printable_lines(lines)


def _bounds(estimate: Estimate) -> Table:
    base = estimate.model_us

    def share(value: float | None) -> str:
        return f"{value / base:.2%}" if base > 0 and value is not None else "-"

    rows: list[list[Cell]] = [["measured", estimate.now, estimate.wait_us, ""]]
    rows.append(["model of today", estimate.now, estimate.model_us, share(estimate.model_us)])
    rows.append(["split, optimistic", estimate.then, estimate.uniform_us, share(estimate.uniform_us)])
    rows.append(["split, pessimistic", estimate.then, estimate.single_us, share(estimate.single_us)])
    if estimate.wait_us is not None and estimate.left is not None:
        rows.append(["measured x optimistic", estimate.then, estimate.wait_us * estimate.left, ""])
    return Table([Column("", left=True), Column("locks"), Column("wait (us)"), Column("of today's")], rows)
