"""Recordings made by hand."""

from collections.abc import Iterable

import polars as pl

from finegrain.workload import recording as rec


def _events(rows: Iterable[dict]) -> pl.DataFrame:
    table = pl.DataFrame(
        [{name: row.get(name, 0) for name in rec.COLUMNS} for row in rows], schema=rec.COLUMNS, orient="row"
    )
    return table.sort("process", "time", maintain_order=True)


def make_recording(rows, files=(), kind="tracepoints", **more):
    """Make a recording from rows given as dicts; columns left out are 0."""
    events = _events(rows)
    highest = [events["process"].max() or 0] + [
        row["info"] for row in rows if row["kind"] in (rec.FORK, rec.WAIT)
    ]
    return rec.Recording(
        kind=kind,
        command=["make"],
        status=0,
        events=events,
        processes=max(highest) + 1,
        files=list(files),
        duration_ns=int(events["time"].max() or 0) if len(events) else 0,
        **more,
    )


class Calls:
    """Rows of calls on files in order of time, `step` ns apart; names become paths as they come."""

    def __init__(self, step=1000):
        self.step = step
        self.time = 0
        self.rows = []
        self.paths = ["/"]

    def _number(self, name):
        if name in ("", None):
            return 0
        if name not in self.paths:
            self._number(name.rpartition("/")[0] or "/")
            self.paths.append(name)
        return self.paths.index(name) + 1

    def add(self, kind, name=None, other=None, **columns):
        """Add a row after the others; `error`, `process`, `info` and the like are columns."""
        self.time += self.step
        self.rows.append(
            {
                "time": self.time,
                "kind": kind,
                "path": self._number(name),
                "path2": self._number(other),
                **columns,
            }
        )
        return self.time

    def exec(self, name, file, **columns):
        """Execute the program `name`, the file of that index."""
        self.add(rec.FILE_EXEC, name, **columns)
        self.add(rec.EXEC, **columns)
        text = rec.PROT_READ | rec.PROT_EXEC | rec.MAP_EXEC
        data = rec.PROT_READ | rec.PROT_WRITE | rec.MAP_EXEC
        stack = data | rec.MAP_STACK
        for page, pages, info, of in (
            (0x400, 8, text, file + 1),
            (0x408, 4, data, file + 1),
            (0x700, 16, stack, 0),
        ):
            offset = page - 0x400 if of else 0
            self.add(rec.MAP, page=page, pages=pages, offset=offset, info=info, file=of, **columns)
        self.add(rec.FAULT, page=0x400, info=rec.FAULT_EXEC, **columns)
        self.add(rec.FAULT, page=0x409, info=rec.FAULT_WRITE, **columns)

    def sleep(self, ns, **columns):
        self.add(rec.OFF, **columns)
        self.time += ns
        self.add(rec.ON, **columns)

    def recording(self, files=(), **more):
        return make_recording(self.rows, files, paths=self.paths, **more)
