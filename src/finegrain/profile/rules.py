"""`--fail-if` rules: LOCK METRIC OP VALUE, such as `rw:pmap pv list wait > +10%`."""

import re
from dataclasses import dataclass

from finegrain.errors import UserError

METRICS = {
    "wait": "wait_us",
    "hold": "hold_us",
    "contended": "contended",
    "acquired": "count",
    "longest wait": "wait_max_us",
    "longest hold": "hold_max_us",
    "mean wait": "wait_avg_us",
    "mean hold": "hold_avg_us",
}
_UNITS = {"": 1.0, "ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
_RULE = re.compile(
    rf"\s*(\S.*?)\s+({'|'.join(METRICS)})\s*(>=|<=|>|<)\s*([+-]?)(\d{{1,15}}(?:\.\d{{1,9}})?)\s*(%|ns|us|ms|s|m|h)?\s*"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A bound on a lock's figure: on its change in percent, on its change, or on the figure itself."""

    text: str
    lock: str
    metric: str
    sense: str
    value: float
    kind: str  # percent, change or value

    def broken(self, old: float, new: float) -> tuple[bool, float]:
        """Does the change from `old` to `new` meet the rule's condition, and by which figure?

        That is the change in percent (infinite from 0), the change, or the new figure itself.
        """
        if self.kind == "percent":
            found = (new - old) / old * 100 if old else float("inf") if new else 0.0
        else:
            found = new - old if self.kind == "change" else new
        meets = {
            ">": found > self.value,
            ">=": found >= self.value,
            "<": found < self.value,
            "<=": found <= self.value,
        }
        return meets[self.sense], float(found)


def parse_rule(text: str) -> Rule:
    """The rule of a text; UserError says what a rule looks like."""
    match = _RULE.fullmatch(text)
    if not match:
        raise UserError(
            f"--fail-if {text!r}: write LOCK METRIC OP VALUE, such as 'rw:pmap pv list wait > +10%' "
            f"(metrics: {', '.join(METRICS)}; OP: > >= < <=; a signed value or % is a change)"
        )
    lock, metric, sense, sign, digits, unit = match.groups()
    timed = METRICS[metric].endswith("_us")
    if unit not in (None, "%") and not timed:
        raise UserError(f"--fail-if {text!r}: {metric} is a count, not a time in {unit}")
    kind = "percent" if unit == "%" else "change" if sign else "value"
    value = float(sign + digits) * (1.0 if kind == "percent" else _UNITS[unit or ""])
    return Rule(text, lock, metric, sense, value, kind)
