"""From a file to its vnode: made once, by whoever comes first."""

from kernel.files_run import make, run_threads


def test_a_vnode_is_made_once_though_many_come_at_once():
    for later in range(0, 400_000, 10_000):
        files = make(4)
        files.run(("mount", 0), ("plant", 0, 2, 2))
        # the first names that the door is given are the numbers 0 and 1
        rows = run_threads(
            files, *[[("charge", later * i), ("stat", 0, "/p/q"), ("stat", 0, "/p")] for i in range(4)]
        )
        assert [row[1:] for row in rows] == [[0, 2]] * 4
        assert files.in_use()["vnodes"] == 3
        assert files.audit() == ""
