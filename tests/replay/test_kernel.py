"""Processes that take the steps of a program: the kernel under them is consistent."""

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program
from replay.made import MS, PS_PER_MS, make_replay
from workload.made import make_recording
from workload.synthetic import ANONYMOUS, Process, build, programs
from workload.test_threads import ACTIONS, random_rows


@settings(max_examples=40, deadline=None)
@given(
    programs(),
    st.sampled_from(["head", "superpage", "superpage+batch"]),
    st.integers(1, 4),
    st.sampled_from(["private", "shared"]),
    st.integers(0, 1000),
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=3),
)
def test_kernel_is_consistent_at_any_time_and_empty_at_the_end(program, design, jobs, images, seed, times):
    replay = make_replay(program, design, jobs=jobs, images=images, seed=seed)
    at = replay.prepare()
    assert replay.kernel.audit() == (0, "")
    for ms in times:
        at += round(ms * PS_PER_MS)
        replay.machine.run(until=at)
        assert replay.kernel.audit() == (0, "")
    assert replay.counts()["faults_bad"] == 0
    left = replay.drain()
    assert set(left.values()) == {0}, left


@settings(max_examples=40, deadline=None)
@given(
    actions=st.lists(st.tuples(st.integers(0, 3), ACTIONS), min_size=4, max_size=40),
    design=st.sampled_from(["head", "superpage+batch"]),
    seed=st.integers(0, 1000),
    microseconds=st.lists(st.integers(1, 300), min_size=1, max_size=3),
)
def test_threads_of_any_program_end_and_leave_nothing(actions, design, seed, microseconds):
    begin = [(0, (rec.THREAD, 0, 0, 1)), (1, (rec.THREAD, 0, 0, 2))]
    program = compile_program(make_recording(random_rows([*begin, *actions]), ["/bin/sh"]))
    replay = make_replay(program, design, jobs=2, seed=seed)
    at = replay.prepare()
    assert replay.kernel.audit() == (0, "")
    for us in microseconds:
        at += us * PS_PER_MS // 1000
        replay.machine.run(until=at)
        assert replay.kernel.audit() == (0, "")
    assert replay.counts()["faults_bad"] == 0
    left = replay.drain()
    assert set(left.values()) == {0}, left


def test_children_that_write_the_same_pages_at_once():
    """Faults of several processes on the pages of one shadow chain get in each other's way."""
    root = Process(-1)
    root.exec()
    root.do(pr.MMAP, 0x10000000, 64 * 4096, ANONYMOUS)
    children = []
    for generation in range(2):
        for i in range(64):
            root.touch(0x10000000 + i * 4096)
        for number in range(1 + 5 * generation, 6 + 5 * generation):
            root.do(pr.FORK, number)
            children.append(Process(0))
            for i in range(64):
                children[-1].do(pr.TOUCH, 0x10000000 + (i * 11 + number) % 64 * 4096, 0, pr.TOUCH_WRITE, 0)
    root.do(pr.SLEEP, 2 * MS)
    for process in (root, *children):
        process.do(pr.EXIT)
    replay = make_replay(build([root, *children]), jobs=2, stagger=False)
    at = replay.prepare()
    for _ in range(40):
        at += PS_PER_MS // 20
        replay.machine.run(until=at)
        assert replay.kernel.audit() == (0, "")
    counts = replay.counts()
    assert counts["faults_bad"] == 0
    assert counts["faults_copy"] > 500
    assert set(replay.drain().values()) == {0}


RENUMBERED = """
import sys
from finegrain.workload import program as pr
names = [name.upper() for name in pr.OP_NAMES]
if sys.argv[1] == "renumbered":
    for number, name in enumerate(reversed(names)):
        setattr(pr, name, number)
    pr.OP_NAMES = pr.OP_NAMES[::-1]
from replay.made import PS_PER_MS, family, make_replay
replay = make_replay(family(), jobs=2)
replay.machine.run(until=replay.prepare() + 20 * PS_PER_MS)
print(sorted(replay.counts().items()), replay.drain())
"""


def test_kinds_of_steps_are_numbered_by_the_program_alone():
    """Number them the other way round before anybody has looked, and the same replay comes of it."""
    out = [
        subprocess.run(
            [sys.executable, "-c", RENUMBERED, how],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        ).stdout
        for how in ("as they are", "renumbered")
    ]
    assert out[0] == out[1]
    assert "('execs', 0)" not in out[0]
