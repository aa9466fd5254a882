"""What a calibration says, and the measured column that it was fitted to."""

import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from finegrain.errors import UserError
from finegrain.options import KernelOptions

SCHEMA: Final = "finegrain.calibration/1"
TARGET_SCHEMA: Final = "finegrain.target/1"
SHIPPED: Final = "head"
_FOLDER: Final = Path(__file__).parent.parent / "calibrations"


@dataclass(frozen=True)
class Calibration:
    """Fitted values; the defaults change nothing.

    `cost_scale` is of the machine and holds for every workload. The others are of the workload that they were fitted
    with, on the machine whose `cpus` and `jobs` are given; "" and 0: of none.
    """

    cost_scale: float = 1.0  # times every cost of the model
    user_time: float = 1.0  # times every recorded user time
    listings_per_s: float = 0.0
    map_readings_per_s: float = 0.0
    pfs_nodes: float = 104.0
    workload: str = ""
    images: str = ""
    cpus: int = 0
    jobs: int = 0


@dataclass(frozen=True)
class Target:
    """A measured column: the total wait on each lock, microseconds over 90 minutes, and what it was measured on."""

    waited_us: dict[str, float]
    cpus: int
    jobs: int
    workload: str
    images: str


def _read(path: Path, schema: str, what: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise UserError(f"cannot read {what} {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{what} {path} is no TOML: {error}") from None
    if values.get("schema") != schema:
        raise UserError(f"{path} is no {what}: its schema is {values.get('schema')!r}, not {schema!r}")
    return values


def _number(values: dict[str, Any], name: str, path: Path, least: float) -> float:
    value = values.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value < least
    ):
        raise UserError(f"{path}: {name} is {value!r}: give a number of {least:g} or more")
    return float(value)


def read_calibration(name: str) -> Calibration:
    """Read the calibration of that name, a shipped one's or a file's. UserError when it is none."""
    path = _FOLDER / f"{name}.toml" if name == SHIPPED else Path(name)
    values = _read(path, SCHEMA, "calibration")
    known = {field.name: field.type for field in fields(Calibration)}
    for key in values:
        if key not in known and key not in ("schema", "fit"):
            raise UserError(f"{path}: {key!r} is not fitted; there are {', '.join(known)}")
    out: dict[str, Any] = {}
    for key, usual in vars(Calibration()).items():
        if key not in values:
            continue
        if isinstance(usual, str):
            out[key] = str(values[key])
        else:
            least = 1e-3 if key in ("cost_scale", "user_time") else 0.0
            out[key] = type(usual)(_number(values, key, path, least))
    return Calibration(**out)


@dataclass(frozen=True)
class Applied:
    """What a calibration changes in one comparison, and the words for it."""

    cost_scale: float = 1.0
    user_time: float = 1.0
    rates: dict[str, float] | None = None  # of KernelOptions; None: as they are
    said: str = ""

    def options(self, given: KernelOptions) -> KernelOptions:
        """Give `given` with the fitted rates in the place of those that nobody has said."""
        usual = KernelOptions()
        rates = self.rates or {}
        left = {name: value for name, value in rates.items() if getattr(given, name) == getattr(usual, name)}
        return replace(given, **left)  # type: ignore[arg-type]


def apply(name: str | None, workload: str, *, cpus: int, force: bool = False) -> Applied:
    """Say what the calibration `name` changes for a workload on a machine of so many CPUs; None or "none": nothing.

    The shipped one's cost scale applies to everything, and the rest to the workload that it was fitted with. A file's
    applies as a whole: UserError when it was made for another workload or machine, unless `force`.
    """
    if name is None or name == "none":
        return Applied()
    calibration = read_calibration(name)
    fits = workload == calibration.workload
    if name != SHIPPED and not force:
        made = f"{calibration.workload or 'no workload'} on {calibration.cpus} CPUs"
        if not fits or cpus != calibration.cpus:
            raise UserError(
                f"calibration {name} was made for {made}, not for {workload} on {cpus}; --force applies it anyway"
            )
    if not fits and not (force and name != SHIPPED):
        return Applied(calibration.cost_scale, said=f"{name}: costs x{calibration.cost_scale:.3g}")
    rates = {
        "listings_per_s": calibration.listings_per_s,
        "map_readings_per_s": calibration.map_readings_per_s,
        "pfs_nodes": round(calibration.pfs_nodes),
    }
    words = ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in rates.items())
    return Applied(
        calibration.cost_scale,
        calibration.user_time,
        rates,
        f"{name}: costs x{calibration.cost_scale:.3g}, user time x{calibration.user_time:.3g}, {words}",
    )


def calibration_text(calibration: Calibration, fit: dict[str, tuple[float, float]]) -> str:
    """Give the TOML of a calibration; `fit` has the measured and the simulated wait of each lock."""
    lines = [f'schema = "{SCHEMA}"']
    for name, value in vars(calibration).items():
        lines.append(f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value:.6g}")
    lines += ["", "[fit]  # us over 90 minutes: measured, simulated"]
    lines += [f'"{lock}" = [{measured:.0f}, {simulated:.0f}]' for lock, (measured, simulated) in fit.items()]
    return "\n".join(lines) + "\n"


def read_target(path: Path) -> Target:
    """Read a measured column. UserError when it is none, or names a lock that the kernel has not."""
    values = _read(path, TARGET_SCHEMA, "target")
    waits = values.get("waited_us")
    if not isinstance(waits, dict) or not waits:
        raise UserError(f"target {path} has no table [waited_us]")
    import finegrain.replay.kernel  # noqa: F401  # compiled, and all locks with it: only who calibrates needs them
    from finegrain.lab.profile import lock_names

    known = lock_names()
    minutes = _number(values, "minutes", path, 1e-3)
    out: dict[str, float] = {}
    for lock in waits:
        if lock not in known:
            raise UserError(f"target {path}: there is no lock {lock!r}")
        out[lock] = _number(waits, lock, path, 1e-9) * 90 / minutes
    return Target(
        waited_us=out,
        cpus=int(_number(values, "cpus", path, 1)),
        jobs=int(_number(values, "jobs", path, 1)),
        workload=str(values.get("workload", "poudriere")),
        images=str(values.get("images", "mixed")),
    )
