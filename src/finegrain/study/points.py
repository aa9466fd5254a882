"""Measurements kept on disk, each under a key of all that went into it: what is measured once need not be again.

A key is a hash of the task, of the recording's content and of the code that measures. A file is written beside its
place and renamed, so that programs that share a folder do not disturb each other; one that cannot be read, or is not
what its name says, counts as absent.
"""

import gzip
import hashlib
import json
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

from finegrain.errors import UserError
from finegrain.files import write_bytes
from finegrain.study.measure import Measurement, Task
from finegrain.study.result import Holding

SCHEMA: Final = "finegrain.point/1"
_SOURCES: Final = (
    "design.py",
    "options.py",
    "machine",
    "kernel",
    "workload",
    "replay",
    "lab",
    "study/measure.py",
)
_SUFFIXES: Final = (".py", ".pyx", ".pxd", ".h")


@cache
def code_version() -> str:
    """Hash the sources of everything that decides what comes out of a task."""
    package = Path(__file__).parent.parent
    total = hashlib.sha256()
    for name in _SOURCES:
        place = package / name
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for path in files:
            if path.suffix in _SUFFIXES:
                total.update(f"{path.relative_to(package)}\0".encode())
                total.update(path.read_bytes())
    return total.hexdigest()


def inputs(task: Task, recording: str) -> dict[str, Any]:
    """Give all that a task's measurement depends on, as JSON's types; `recording` is the hash of its content."""
    plain = {field.name: getattr(task, field.name) for field in fields(task)}
    return plain | {
        "design": list(task.design.key),
        "shape": asdict(task.shape),
        "costs": asdict(task.costs),
        "options": asdict(task.options),
        "program": recording,
        "code": code_version(),
    }


class Points:
    """A folder of measurements. `found` and `failed` say how many were there, and why one could not be written."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it is not there; UserError when that cannot be done."""
        self.folder = folder
        self.found = 0
        self.failed: str | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot keep points in {folder}: {error.strerror}; --keep names another folder"
            ) from None

    def _path(self, wanted: dict[str, Any]) -> Path:
        text = json.dumps(wanted, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json.gz"

    def get(self, task: Task, recording: str) -> Measurement | None:
        """Give the measurement of a task on a recording, known by the hash of its content, if it is there whole."""
        wanted = inputs(task, recording)
        try:
            document = json.loads(gzip.decompress(self._path(wanted).read_bytes()))
            if document["schema"] != SCHEMA or document["inputs"] != json.loads(json.dumps(wanted)):
                return None
            measured = _measurement(document["measurement"])
        except (OSError, EOFError, ValueError, KeyError, TypeError, gzip.zlib.error):  # type: ignore[attr-defined]
            return None
        self.found += 1
        return measured

    def put(self, task: Task, recording: str, measured: Measurement) -> None:
        """Keep a measurement; where that cannot be done, `failed` says why, and nothing else happens."""
        wanted = inputs(task, recording)
        document = {"schema": SCHEMA, "inputs": wanted, "measurement": _plain(measured)}
        try:
            write_bytes(self._path(wanted), gzip.compress(json.dumps(document).encode(), 6, mtime=0))
        except UserError as error:
            self.failed = str(error)

    def size(self) -> tuple[int, int]:
        """Count the files of the folder and their bytes."""
        sizes = [path.stat().st_size for path in self.folder.glob("*.json.gz")]
        return len(sizes), sum(sizes)


def _plain(measured: Measurement) -> dict[str, Any]:
    values = {field.name: getattr(measured, field.name) for field in fields(measured)}
    return values | {
        "charged": [[*key, wait] for key, wait in measured.charged.items()],
        "superpage_holds": [
            [number, [asdict(held) for held in holds]] for number, holds in measured.superpage_holds.items()
        ],
    }


def _measurement(values: dict[str, Any]) -> Measurement:
    return Measurement(
        **values
        | {
            "charged": {(lock, holder, waiter): wait for lock, holder, waiter, wait in values["charged"]},
            "superpage_holds": {
                number: [Holding(**held) for held in holds] for number, holds in values["superpage_holds"]
            },
        }
    )
