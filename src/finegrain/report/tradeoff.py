"""The trade-off in one picture: PV list waiting against the memory that a design takes, a point a design."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from finegrain.errors import UserError
from finegrain.study.result import SPAN_90MIN_S, is_pv_list

SUFFIXES: Final = (".svg", ".png")
WIDTH, HEIGHT = 760, 480
_INK: Final = "#1b2733"
_LINE: Final = "#8a97a5"
_BEST: Final = "#0b6e4f"


@dataclass(frozen=True)
class Point:
    """A design: what it takes and how long its PV list locks are waited for."""

    label: str
    bytes_per_gb: float  # of locks, generations, list heads, for each 2^30 bytes of RAM
    wait: float  # ms for each second of the machine's time
    low: float  # its 95% interval; both the wait itself where there is none
    high: float
    best: bool  # no other design takes no more and waits no more, and less of one of them


def read(path: Path) -> list[Point]:
    """Read the points of a result that `compare` or `sweep` wrote; UserError where it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{path}: not JSON; give a result that 'finegrain compare --json' wrote") from None
    try:
        return points(document)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise UserError(f"{path}: not a result of 'finegrain compare' or 'finegrain sweep'") from None


def points(document: dict[str, Any]) -> list[Point]:
    """Give the points of a result as JSON's types. KeyError, TypeError or ValueError where it is none."""
    schema = str(document["schema"])
    if schema.startswith("finegrain.sweep/"):
        comparisons = document["comparisons"]
        values = document.get("values") or [str(c["machine"]["cpus"]) for c in comparisons]
    elif schema.startswith("finegrain.compare/"):
        comparisons, values = [document], [""]
    else:
        raise ValueError(schema)
    found = []
    for value, comparison in zip(values, comparisons, strict=True):
        gigabytes = comparison["machine"]["memory_bytes"] / (1 << 30)
        for design in comparison["designs"]:
            name = design["name"] if len(comparisons) == 1 else f"{design['name']} @{value}"
            found.append(_point(name, design, gigabytes))
    if not found:
        raise ValueError("no design")
    return [_judged(point, found) for point in found]


def _point(name: str, design: dict[str, Any], gigabytes: float) -> Point:
    lock = next((lock for lock in design["locks"] if is_pv_list(lock["lock"])), None)
    wait = float(lock["wait_us_90min"]) if lock else 0.0
    low, high = (lock or {}).get("wait_us_90min_ci95") or (wait, wait)
    scale = 1 / SPAN_90MIN_S / 1000  # us in 90 minutes -> ms a second
    return Point(
        name[:80],
        float(design["pv_bytes"]) / gigabytes,
        wait * scale,
        float(low) * scale,
        float(high) * scale,
        False,
    )


def _judged(point: Point, all_points: list[Point]) -> Point:
    beaten = any(
        other.bytes_per_gb <= point.bytes_per_gb
        and other.wait <= point.wait
        and (other.bytes_per_gb < point.bytes_per_gb or other.wait < point.wait)
        for other in all_points
    )
    return Point(**vars(point) | {"best": not beaten})


def floor_of(found: list[Point]) -> float:
    """Say where waits of nothing are drawn: a tenth of the least that is more, as a logarithm has no nothing."""
    waited = [value for point in found for value in (point.low, point.wait) if value > 0]
    return 10.0 ** (math.floor(math.log10(min(waited))) - 1) if waited else 0.01


def chart(found: list[Point]) -> Any:
    """Give the picture as an Altair chart."""
    import altair as alt

    floor = floor_of(found)
    none = any(point.wait <= 0 for point in found)
    rows = [
        {
            "design": point.label + (" (no waiting)" if point.wait <= 0 else ""),
            "bytes": point.bytes_per_gb,
            "wait": max(point.wait, floor),
            "low": max(point.low, floor),
            "high": max(point.high, floor),
            "best": point.best,
            "side": side,
        }
        for point, side in zip(found, _sides(found, floor), strict=True)
    ]
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]
    title = "PV list waiting, ms a second" + (f"; none is drawn at {floor:g}" if none else "")
    (left, right), (bottom, top) = _domains(found, floor)
    x = alt.X(
        "bytes:Q",
        title="bytes per GB of RAM",
        scale=alt.Scale(type="log", nice=False, domain=[left, right]),
        axis=alt.Axis(tickCount=12, labelOverlap=True),
    )
    y = alt.Y(
        "wait:Q",
        title=title,
        scale=alt.Scale(type="log", nice=False, domain=[bottom, top]),
        axis=alt.Axis(labelOverlap=True),
    )
    colour = alt.condition("datum.best", alt.value(_BEST), alt.value(_INK))
    base = alt.Chart(data)
    layers: list[Any] = [
        base.transform_filter("datum.best")
        .mark_line(color=_BEST, opacity=0.5, strokeDash=[5, 4])
        .encode(x=x, y=y, order="bytes:Q"),
        base.mark_rule(color=_LINE, strokeWidth=1.5).encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, color=colour),
    ]
    for name, look in _LABELS.items():
        layers.append(
            base.transform_filter(f"datum.side === '{name}'")
            .mark_text(fontSize=12, **look)
            .encode(x=x, y=y, text="design:N", color=colour)
        )
    return (
        alt.layer(*layers)
        .properties(
            width=WIDTH,
            height=HEIGHT,
            background="white",
            title=alt.Title(
                "What a finer PV list lock is worth, and what it takes",
                subtitle="joined: no other design takes less and waits less; bars: 95% intervals",
            ),
        )
        .configure_axis(
            gridColor="#e6eaee", labelColor=_INK, titleColor=_INK, labelFontSize=12, titleFontSize=13
        )
        .configure_title(color=_INK, subtitleColor="#5a6775", anchor="start", fontSize=16)
        .configure_view(stroke=None)
    )


def _domains(found: list[Point], floor: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """What the axes reach over: all points with their intervals, and some room."""
    across = [point.bytes_per_gb for point in found]
    up = [max(value, floor) for point in found for value in (point.low, point.wait, point.high)]

    def around(values: list[float]) -> tuple[float, float]:
        room = max((max(values) / min(values)) ** 0.08, 1.15)
        return min(values) / room, max(values) * room

    return around(across), around(up)


# Where a label stands beside its point.
_LABELS: Final[dict[str, dict[str, Any]]] = {
    "right": {"align": "left", "baseline": "middle", "dx": 9},
    "left": {"align": "right", "baseline": "middle", "dx": -9},
    "above": {"align": "left", "baseline": "bottom", "dx": 5, "dy": -7},
    "below": {"align": "left", "baseline": "top", "dx": 5, "dy": 7},
    "high": {"align": "left", "baseline": "bottom", "dx": 5, "dy": -25},
    "low": {"align": "left", "baseline": "top", "dx": 5, "dy": 25},
    "far above": {"align": "right", "baseline": "bottom", "dx": -5, "dy": -7},
    "far below": {"align": "right", "baseline": "top", "dx": -5, "dy": 7},
}
_LETTER, _ROW = 7.0, 16.0  # pixels that a letter and a line of a label take


def _sides(found: list[Point], floor: float) -> list[str]:
    """Choose for each label the first place where it covers no label and no point that is there before it."""
    (left, right), (bottom, top) = _domains(found, floor)
    places = [
        (
            math.log(point.bytes_per_gb / left) / math.log(right / left) * WIDTH,
            math.log(max(point.wait, floor) / bottom) / math.log(top / bottom) * HEIGHT,
        )
        for point in found
    ]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    sides = []
    for point, (x, y) in zip(found, places, strict=True):
        wide = _LETTER * (len(point.label) + (13 if point.wait <= 0 else 0))
        boxes = {
            "right": (x + 9, y - _ROW / 2, x + 9 + wide, y + _ROW / 2),
            "left": (x - 9 - wide, y - _ROW / 2, x - 9, y + _ROW / 2),
            "above": (x + 5, y + 7, x + 5 + wide, y + 7 + _ROW),
            "below": (x + 5, y - 7 - _ROW, x + 5 + wide, y - 7),
            "high": (x + 5, y + 25, x + 5 + wide, y + 25 + _ROW),
            "low": (x + 5, y - 25 - _ROW, x + 5 + wide, y - 25),
            "far above": (x - 5 - wide, y + 7, x - 5, y + 7 + _ROW),
            "far below": (x - 5 - wide, y - 7 - _ROW, x - 5, y - 7),
        }
        fits = [
            side
            for side, box in boxes.items()
            if box[0] > 0 and box[2] < WIDTH + 60 and not any(_overlap(box, other) for other in taken)
        ]
        side = fits[0] if fits else "right"
        taken.append(boxes[side])
        sides.append(side)
    return sides


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def drawn(found: list[Point], suffix: str) -> bytes:
    """Give the picture as a file's bytes: `.svg` or `.png`, the same for the same points."""
    import vl_convert

    spec = chart(found).to_json()
    if suffix == ".svg":
        return str(vl_convert.vegalite_to_svg(spec)).encode()
    return bytes(vl_convert.vegalite_to_png(spec, scale=2))
