"""A compiled program in a directory of plain array files, for processes that map it instead of compiling it.

Compiling takes seconds and a few hundred MB that a process does not give back; the arrays themselves are 45 MB for a
million events and are shared by every process that maps them.
"""

import io
import json
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from finegrain.errors import UserError
from finegrain.workload.program import Program

_REST = "rest.json"


def store_program(workload: str, directory: str) -> None:
    """Compile `workload` (a mix, a bundled recording's name or a file) into `directory`. UserError if it is bad."""
    from finegrain.workload.mix import shares_of

    _store(shares_of(workload), directory)


def _store(shares: dict[str, float], directory: str) -> None:
    # Imported here: a process that only maps programs does without Polars.
    from finegrain.workload.compile import compile_program
    from finegrain.workload.mix import mixed
    from finegrain.workload.recording import load

    program = mixed([compile_program(load(name)) for name in shares], list(shares), list(shares.values()))
    rest = {}
    for field in fields(Program):
        value = getattr(program, field.name)
        if isinstance(value, np.ndarray):
            np.save(Path(directory, field.name + ".npy"), value)
        else:
            rest[field.name] = value
    Path(directory, _REST).write_text(json.dumps(rest), encoding="utf-8")


def workload_bytes(workload: str) -> bytes:
    """Give the recordings of `workload`, as they lie on disk, and their shares. UserError if there is none."""
    from finegrain.workload.mix import shares_of
    from finegrain.workload.recording import locate

    whole = io.BytesIO()
    # not compressed, and dated 1980: the same bytes for the same
    with zipfile.ZipFile(whole, "w") as archive:
        for i, (name, share) in enumerate(shares_of(workload).items()):
            path = locate(name)
            try:
                archive.writestr(zipfile.ZipInfo(f"{i}={share!r}"), path.read_bytes())
            except OSError as error:
                raise UserError(f"cannot read recording {name}: {error.strerror}") from None
    return whole.getvalue()


def store_sent(sent: bytes, directory: str) -> None:
    """Compile what workload_bytes() gave into `directory`, which it also uses meanwhile. UserError if it is bad."""
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        shares = {}
        for name in archive.namelist():
            number, _, share = name.partition("=")
            path = Path(directory, f"recording-{number}")
            path.write_bytes(archive.read(name))
            shares[str(path)] = float(share)
    _store(shares, directory)
    for recording in shares:
        Path(recording).unlink()


def open_program(directory: str) -> Program:
    """Map the program that store_program() left in `directory`; the files must stay while it is used."""
    values = json.loads(Path(directory, _REST).read_text(encoding="utf-8"))
    for path in sorted(Path(directory).glob("*.npy")):
        values[path.stem] = np.load(path, mmap_mode="r")
    return Program(**values)
