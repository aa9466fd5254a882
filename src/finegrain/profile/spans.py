"""How long profiles were taken, and scaling them to one span."""

import re

from finegrain.errors import UserError

_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ns|us|ms|s|sec|m|min|h|d)?")
_SAME = 0.01  # as a part: spans that differ by less are one, told with fewer digits
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


def span_s(text: str) -> float:
    """Seconds of `90m`, `5400s`, `1.5h`, or a bare number of seconds; UserError for anything else or 0."""
    match = _SPAN.fullmatch(text.strip())
    value = float(match[1]) * _SECONDS[match[2] or "s"] if match else 0.0
    if value <= 0:
        raise UserError(f"span {text!r}: give a time such as 90m, 5400s or 1.5h")
    return value


def agreed_span(given: float | None, stated: float | None, name: str) -> float | None:
    """The span of a profile: what is given, or what it states; UserError when it states another one."""
    if given is not None and stated is not None and abs(given - stated) > _SAME * stated:
        raise UserError(
            f"{name} says that it was taken for {stated:g} s, and --span says {given:g} s; leave --span out"
        )
    return stated if given is None else given


def given_spans(option: str | None, count: int) -> list[float | None]:
    """The spans of a `--span` list, one for each of `count` profiles; empty places are None."""
    if option is None:
        return [None] * count
    parts = option.split(",")
    if len(parts) != count:
        raise UserError(
            f"--span {option}: {len(parts)} spans for {count} profiles; one each, separated by commas"
        )
    return [span_s(part) if part.strip() else None for part in parts]
