"""Many comparisons: a setting takes one value after the other, or the number of hashed locks grows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from finegrain.design import MAX_HASHED_LOCKS, Design, parse_design
from finegrain.errors import UserError
from finegrain.machine.costs import CostModel, parse_costs
from finegrain.machine.shape import shape_of
from finegrain.study.result import DesignResult, Result

SCHEMA: Final = "finegrain.sweep/2"
MAX_VALUES: Final = 100
_LISTED: Final = {"cpus": "8,32,104", "images": "private,shared", "workloads": "hello,my.fgrec"}


@dataclass(frozen=True)
class Step:
    """One comparison of a sweep: the value that stands for it, and what changes in the comparison's settings."""

    value: str
    changes: dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """What is swept over, and its steps."""

    over: str  # locks, cpus, images, workloads, or cost:NAME
    steps: list[Step]


@dataclass(frozen=True)
class SweepResult:
    """The comparisons that are done, each with its value."""

    over: str
    values: list[str]
    comparisons: list[Result]


def locks_sweep(first: int, last: int, designs: Sequence[Design] | None = None) -> Sweep:
    """Sweep over hashed locks: `first`, twice as many, ... up to `last`, beside `designs` (None: superpage).

    All are one comparison, of which the first of `designs` is what the others are held against.
    """
    if not 1 <= first <= last <= MAX_HASHED_LOCKS:
        raise UserError(f"--from {first} --to {last}: give 1 to {MAX_HASHED_LOCKS}, the smaller one first")
    beside = list(designs) if designs else [parse_design("superpage")]
    counts = [first]
    while counts[-1] * 2 <= last:
        counts.append(counts[-1] * 2)
    keys = {design.key for design in beside}
    hashed = [parse_design(f"hashed:locks={count}") for count in counts]
    more = [design for design in hashed if design.key not in keys]
    return Sweep("locks", [Step(f"{first} to {counts[-1]}", {"designs": [*beside, *more]})])


def listed_sweep(over: str, text: str | None, costs: CostModel) -> Sweep:
    """Sweep over the values in `text`, separated by commas: of cpus, images or workloads; or `NAME=V1,V2` of a cost."""
    if not text:
        example = _LISTED.get(over, "rmw_hit_cycles=18,23")
        raise UserError(f"sweep {over}: give its values, such as {example}")
    name, equals, listed = text.partition("=") if over == "cost" else ("", "", text)
    if over == "cost" and not (name and equals):
        raise UserError(f"sweep cost {text!r}: give NAME=VALUE,VALUE, such as rmw_hit_cycles=18,23")
    values = [value for value in listed.split(",") if value]
    if not 1 <= len(values) <= MAX_VALUES:
        raise UserError(f"sweep {over}: {len(values)} values; give 1 to {MAX_VALUES}")
    if len(set(values)) < len(values):
        raise UserError(f"sweep {over}: a value is given twice")
    changes: dict[str, Callable[[str], dict[str, Any]]] = {
        "cpus": lambda value: {"shape": shape_of(_whole(value))},
        "images": lambda value: {"images": value},
        "workloads": lambda value: {"workload": value},
        "cost": lambda value: {"costs": _with_cost(costs, name, value)},
    }
    return Sweep(f"cost:{name}" if name else over, [Step(value, changes[over](value)) for value in values])


def _whole(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UserError(f"{value!r} CPUs: give one number, or several separated by commas") from None


def _with_cost(costs: CostModel, name: str, value: str) -> CostModel:
    return replace(costs, **{name: getattr(parse_costs([f"{name}={value}"]), name)})


def steps(sweep: Sweep, compare: Callable[..., Result]) -> Iterator[SweepResult]:
    """Make the comparisons one after the other; after each, give all that are done.

    `compare` takes what changes with the step as arguments by name.
    """
    done = SweepResult(sweep.over, [], [])
    for step in sweep.steps:
        result = compare(**step.changes)
        done = replace(done, values=[*done.values, step.value], comparisons=[*done.comparisons, result])
        yield done


def enough_locks(result: Result) -> DesignResult | None:
    """Say with how many hashed locks waiting is no longer shown to differ from the first design's, or is less.

    That is the smallest number whose ratio to the first design has a 95% interval that reaches 1; None: there is none,
    or no interval.
    """
    for design in result.designs[1:]:
        parsed = parse_design(design.name)
        interval = design.pv_ratio_ci95
        if parsed.layout == "hashed" and interval is not None and interval[1] >= 1:
            return design
    return None
