"""The vnode cache of pseudofs: how long the list is that every end of a process walks."""

import pytest

from finegrain.options import KernelOptions
from kernel.files_run import locks_of, make, run_threads

MUTEX = "pfs_vncache"


def walk_ps(files):
    """How long the end of a process that nobody looked at takes."""
    before = files.machine.time_ps
    files.run(("exit", 77))
    return files.machine.time_ps - before


@pytest.mark.parametrize("nodes", [0, 1, 50])
def test_an_exit_takes_the_mutex_unless_the_list_is_empty(nodes):
    files = make(options=KernelOptions(pfs_nodes=nodes))
    assert files.counts()["pfs_entries"] == nodes
    assert locks_of(files, ("exit", 7)).get(MUTEX, 0) == (nodes > 0)
    assert files.counts()["pfs_scans"] == (nodes > 0)


def test_each_node_makes_each_exit_longer():
    files = [make(options=KernelOptions(pfs_nodes=nodes)) for nodes in (10, 20, 30)]
    ten, twenty, thirty = (walk_ps(one) for one in files)
    assert 0 < twenty - ten == thirty - twenty


def test_nodes_of_a_process_go_with_it():
    files = make(options=KernelOptions(pfs_nodes=5))
    files.run(("look", 7, 1), ("look", 7, 2), ("look", 8, 1), ("look", 7, 1))
    assert files.counts()["pfs_entries"] == 8
    # the mutex is let go for each that is destroyed, and the walk begins anew
    assert locks_of(files, ("exit", 7))[MUTEX] == 3
    assert files.counts() | {"pfs_entries": 6, "pfs_scans": 1, "pfs_destroyed": 2} == files.counts()


def test_a_node_is_made_once_though_two_look_at_once():
    files = make(4, options=KernelOptions(pfs_nodes=100))
    run_threads(files, *[[("look", 7, 1), ("look", 8, i)] for i in range(4)])
    assert files.counts()["pfs_entries"] == 105
    run_threads(files, *[[("exit", pid)] for pid in (7, 8, 9)])
    assert files.counts()["pfs_entries"] == 100
