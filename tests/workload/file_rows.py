"""Recordings of calls on files, written with the names."""


class Calls:
    """Rows of calls in order of time, 1000 ns apart; names become paths as they come."""

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

    def recording(self, make_recording, files=(), **more):
        return make_recording(self.rows, files, paths=self.paths, **more)
