"""A comparison as JSON, for other programs; the schema is versioned."""

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finegrain.errors import UserError
from finegrain.study.result import SCHEMA, Comparison, DesignResult

SWEEP_SCHEMA = "finegrain.sweep/1"


def comparison_to_dict(comparison: Comparison) -> dict[str, Any]:
    """Give a comparison as JSON's types under the schema finegrain.compare/1."""
    return {
        "schema": SCHEMA,
        "machine": comparison.machine,
        "workload": comparison.workload,
        "seed": comparison.seed,
        "simulated_seconds": comparison.simulated_seconds,
        "warmup_seconds": comparison.warmup_seconds,
        "replications": comparison.replications,
        "designs": [_design(design) for design in comparison.designs],
        "wall_s": comparison.wall_s,
    }


def _design(design: DesignResult) -> dict[str, Any]:
    # Tuples become lists by way of JSON; the field names are the schema's.
    return asdict(design)


def write_json(comparisons: list[Comparison], path: str) -> None:
    """Write one comparison, or several as a sweep, to `path`: whole or not at all."""
    dicts = [comparison_to_dict(comparison) for comparison in comparisons]
    document = dicts[0] if len(dicts) == 1 else {"schema": SWEEP_SCHEMA, "comparisons": dicts}
    write_whole(path, json.dumps(document, indent=1) + "\n")


def check_writable(path: str) -> None:
    """Refuse early a path that a result could not be written to."""
    target = Path(path)
    if target.is_dir():
        raise UserError(f"{path} is a directory; name a file")
    if not target.parent.is_dir():
        raise UserError(f"{path}: there is no directory {target.parent}; make it first")
    if not os.access(target.parent, os.W_OK):
        raise UserError(f"{path}: the directory {target.parent} is not writable; choose another")


def write_whole(path: str, text: str) -> None:
    """Write a file beside `path` and rename it, so that `path` never holds half of it."""
    target = Path(path)
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=target.parent, prefix=f".{target.name}.", delete=False, encoding="utf-8"
        ) as file:
            try:
                file.write(text)
                file.flush()
                os.chmod(file.name, 0o666 & ~_umask())
                os.replace(file.name, target)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror}; choose another place") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
