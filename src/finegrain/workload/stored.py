"""A compiled program in a directory of plain array files, for processes that map it instead of compiling it.

Compiling takes seconds and a few hundred MB that a process does not give back; the arrays themselves are 45 MB for a
million events and are shared by every process that maps them.
"""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from finegrain.errors import UserError
from finegrain.workload.program import Program

_REST = "rest.json"


def store_program(workload: str, directory: str) -> None:
    """Compile the recording `workload` (a bundled one's name or a file) into `directory`. UserError if it is bad."""
    # Imported here: a process that only maps programs does without Polars.
    from finegrain.workload.compile import compile_program
    from finegrain.workload.recording import load

    program = compile_program(load(workload))
    rest = {}
    for field in fields(Program):
        value = getattr(program, field.name)
        if isinstance(value, np.ndarray):
            np.save(Path(directory, field.name + ".npy"), value)
        else:
            rest[field.name] = value
    Path(directory, _REST).write_text(json.dumps(rest), encoding="utf-8")


def recording_bytes(workload: str) -> bytes:
    """Give the recording `workload` as it lies on disk. UserError if there is none."""
    from finegrain.workload.recording import locate

    path = locate(workload)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read recording {workload}: {error.strerror}") from None


def open_program(directory: str) -> Program:
    """Map the program that store_program() left in `directory`; the files must stay while it is used."""
    values = json.loads(Path(directory, _REST).read_text(encoding="utf-8"))
    for path in sorted(Path(directory).glob("*.npy")):
        values[path.stem] = np.load(path, mmap_mode="r")
    return Program(**values)
