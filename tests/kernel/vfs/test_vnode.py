"""Vnodes: who uses them last."""

import random

from kernel.file_model import CREAT, READ
from kernel.files_run import make, run_threads

NS = 1000


def test_the_last_of_many_who_share_a_file_without_a_name_frees_it():
    """Whichever of them it is, and wherever the others have got to."""
    for seed in range(60):
        rng = random.Random(seed)
        files = make(16, sockets=2)
        files.run(
            ("mount", 0), *[("open", 0, "/a", fd, CREAT | READ) for fd in range(32)], ("unlink", 0, "/a")
        )
        closers = [
            [("charge", rng.randrange(300) * NS), ("close", fd), ("close", fd + 16)] for fd in range(16)
        ]
        run_threads(files, *closers)
        assert files.audit() == ""
        assert files.in_use()["nodes"] == 1
