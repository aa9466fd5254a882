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
    """Rows of calls on files in order of time, 1000 ns apart; names become paths as they come."""

    def __init__(self):
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
        time = 1000 * (len(self.rows) + 1)
        self.rows.append(
            {"time": time, "kind": kind, "path": self._number(name), "path2": self._number(other), **columns}
        )
        return time

    def recording(self, files=(), **more):
        return make_recording(self.rows, files, paths=self.paths, **more)
