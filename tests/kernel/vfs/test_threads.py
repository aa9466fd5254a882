"""Files on several threads at once: nobody waits for ever, everything is consistent afterwards, nothing is left."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.file_model import CREAT, EXCL, READ, TRUNC, WRITE
from kernel.files_run import make, nothing_left, run_threads

DIRS = ["/a", "/b", "/a/c", "/b/d", "/a/c/e", "."]
NAMES = ["x", "y", "z"]


def program(rng: random.Random, thread: int, count: int) -> list[tuple[object, ...]]:
    """Calls on few names in few directories; descriptors are the thread's own, some on files without names."""
    out: list[tuple[object, ...]] = []

    def path() -> str:
        return f"{rng.choice(DIRS)}/{rng.choice(NAMES)}"

    for _ in range(count):
        what = rng.choices(
            [
                "open",
                "close",
                "io",
                "rename",
                "move",
                "unlink",
                "mkdir",
                "rmdir",
                "stat",
                "link",
                "symlink",
                "up",
            ],
            [8, 8, 4, 6, 4, 6, 2, 2, 6, 2, 1, 3],
        )[0]
        fd = 10 * thread + rng.randrange(4)
        if what == "open":
            out.append(
                (
                    "open",
                    0,
                    path(),
                    fd,
                    rng.choice([READ, READ | CREAT, WRITE | CREAT | rng.choice([0, EXCL, TRUNC])]),
                )
            )
        elif what == "close":
            out.append(("close", fd))
        elif what == "io":
            out.append((rng.choice(["read", "write"]), fd, 9000, 0))
        elif what == "rename":
            out.append(("rename", 0, path(), path()))
        elif what == "move":
            out.append(("rename", 0, rng.choice(DIRS[:-1]), rng.choice([*DIRS[:-1], path()])))
        elif what in ("mkdir", "rmdir"):
            out.append((what, 0, rng.choice(DIRS[:-1])))
        elif what == "unlink":
            out.append((what, 0, path()))
        elif what == "stat":
            out.append((what, 0, rng.choice([path(), rng.choice(DIRS)])))
        elif what == "link":
            out.append((what, 0, path(), path()))
        elif what == "symlink":
            out.append((what, 0, rng.choice(["../x", "/a/y", "z"]), path()))
        else:
            out.append((rng.choice(["stat", "fullpath"]), 0, f"{rng.choice(DIRS)}/../{rng.choice(NAMES)}"))
    return out


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(2, 8), st.integers(2, 12))
def test_any_calls_at_once(seed, cpus, threads):
    rng = random.Random(seed)
    files = make(cpus)
    files.run(("mount", 0), *[("mkdir", 0, name) for name in DIRS[:-1]])
    answers = run_threads(files, *[program(rng, thread, 80) for thread in range(threads)])
    assert all(answer is not None for row in answers for answer in row)
    assert files.audit() == ""
    files.run(*[("close", fd) for fd in range(10 * threads)])
    assert files.audit() == ""
    in_tree, left = in_the_tree(files.tree(0)), files.in_use()
    assert left["dirents"] == in_tree
    assert left["files"] == 0
    assert left["nodes"] <= in_tree + 1
    files.run(("unmount", 0))
    assert files.audit() == ""
    nothing_left(files)


def in_the_tree(tree):
    return sum(1 + (in_the_tree(at) if isinstance(at, dict) else 0) for at in tree.values())
