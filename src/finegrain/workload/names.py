"""Which name belongs to which system call, and which path that is."""

from collections import defaultdict

_PENDING = (
    4  # names of a thread that still wait for their calls, at most: more are those of calls that were lost
)
_UNREADABLE = "(fault)"  # what the kernel says where a name's memory could not be read


class Names:
    """Names that probes found, until the calls come that they are given to.

    A probe stands just before the call, so a name belongs to the next call of its thread that is given its address. A
    signal handler may run in between and make calls of its own.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._pending: defaultdict[int, dict[int, tuple[str, int]]] = defaultdict(
            dict
        )  # by thread and address

    def seen(self, tid: int, pointer: int, name: str, time: int) -> None:
        """A probe found `name` at `pointer`."""
        pending = self._pending[tid]
        pending.pop(pointer, None)
        pending[pointer] = name, time
        while len(pending) > _PENDING:
            del pending[next(iter(pending))]

    def take(self, tid: int, pointer: int) -> tuple[str | None, int | None]:
        """Return the name at `pointer` that the thread's call was given, and when it was found; None: not known."""
        name, time = self._pending[tid].pop(pointer, (None, None))
        return (None if name == _UNREADABLE else name), time

    def forget(self, tid: int) -> None:
        """The thread has another program now."""
        self._pending.pop(tid, None)


def absolute(name: str | None, directory: str | None) -> str | None:
    """Return the absolute normalised path of `name` as looked up from `directory`; None when that is not known.

    `..` takes the component before it away, as if there were no symbolic links.
    """
    if not name:  # the empty name names nothing
        return None
    if not name.startswith("/"):
        if directory is None:
            return None
        name = f"{directory}/{name}"
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def with_parents(paths: set[str]) -> list[str]:
    """Return these absolute paths and all directories on their ways, each after its own directory."""
    every = {"/"}
    for path in paths:
        while path not in every:
            every.add(path)
            path = path.rpartition("/")[0] or "/"
    return sorted(every, key=lambda path: path.split("/") if path != "/" else [])
