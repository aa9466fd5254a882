"""Process groups and sessions: who is in which, and who signals them."""

from doors.processes import groups
from finegrain.workload import program as pr
from kernel.proc.test_proc import MS, Run, root
from workload.synthetic import Process


def test_a_job_gets_a_group_of_its_own():
    shell, first, second = root(), Process(0), Process(0)
    shell.do(pr.FORK, 1)
    shell.do(pr.SETPGID, 1, 1)
    shell.do(pr.FORK, 2)
    shell.do(pr.SETPGID, 2, 1)
    shell.do(pr.SLEEP, 2 * MS)
    shell.do(pr.KILLPG, 1)
    shell.do(pr.WAIT, 2)
    shell.do(pr.WAIT, 1)
    shell.do(pr.SLEEP, 9 * MS)
    first.do(pr.SETPGID, 1, 1)  # as shells do, both do it: whoever comes first
    first.do(pr.SLEEP, 6 * MS)
    second.do(pr.SLEEP, 4 * MS)
    run = Run(shell, first, second)
    run.at(1.5)
    assert groups(run.machine) == {(0, -1): [-1, 0], (0, 1): [1, 2]}
    run.at(3)
    assert run.acquisitions("process lock")["killpg1"] == 2
    assert run.acquisitions("sigacts") == {"tdsendsignal": 2}
    assert run.acquisitions("process group")["pgfind"] >= 2
    run.at(9)
    assert groups(run.machine) == {(0, -1): [-1, 0]}
    run.end()


def test_a_group_outlives_its_leader():
    shell, leader, member = root(), Process(0), Process(1)
    shell.do(pr.FORK, 1)
    shell.do(pr.SETPGID, 1, 1)
    shell.do(pr.WAIT, 1)
    shell.do(pr.SLEEP, 20 * MS)
    leader.do(pr.SLEEP, 1 * MS)
    leader.do(pr.FORK, 2)
    member.do(pr.SLEEP, 5 * MS)
    run = Run(shell, leader, member)
    run.at(4)
    assert groups(run.machine) == {(0, -1): [-1, 0], (0, 1): [2]}
    run.at(12)
    assert groups(run.machine) == {(0, -1): [-1, 0]}
    run.end()


def test_a_session_of_its_own():
    parent, child = root(), Process(0)
    parent.do(pr.FORK, 1)
    parent.do(pr.SLEEP, 3 * MS)
    parent.do(pr.SETPGID, 1, 1)  # refused: it leads a session
    parent.do(pr.KILLPG, 0)  # its own group, which it does not lead
    parent.do(pr.SLEEP, 9 * MS)
    child.do(pr.SETSID)
    child.do(pr.SETSID)  # refused
    child.do(pr.SLEEP, 9 * MS)
    run = Run(parent, child)
    run.at(2)
    assert groups(run.machine) == {(0, -1): [-1, 0], (0, 1): [1]}
    run.at(5)
    assert groups(run.machine) == {(0, -1): [-1, 0], (0, 1): [1]}
    assert run.acquisitions("process lock")["killpg1"] == 2
    run.end()
