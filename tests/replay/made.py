"""Replays of small hand-made programs."""

from finegrain.design import parse_design
from finegrain.machine.memory import default_segments, span
from finegrain.machine.simulated import SimulatedMachine
from finegrain.replay.replay import Replay
from finegrain.workload import program as pr
from workload.synthetic import ANONYMOUS, BASE, Process, build

MS = 1_000_000
PS_PER_MS = 1_000_000_000


def make_machine(memory=6 << 30, **shape):
    shape = {"sockets": 2, "cores": 2, "threads": 1} | shape
    return SimulatedMachine(**shape, memory=span(default_segments(2, memory)), seed=1)


def make_replay(program, design="head", **options):
    return on(make_machine(), program, design, **options)


def on(machine, program, design="head", *, sockets=2, memory=6 << 30, **options):
    return Replay(machine, default_segments(sockets, memory), program, parse_design(design), **options)


def family():
    """A root that forks a child 2 ms after its start and then waits for it; the child execs and ends 4 ms later."""
    root, child = Process(-1), Process(0)
    root.exec()
    root.do(pr.MMAP, 0x10000000, 64 * 4096, ANONYMOUS)
    for i in range(64):
        root.touch(0x10000000 + i * 4096)
    root.do(pr.SLEEP, 2 * MS)
    root.do(pr.FORK, 1)
    root.do(pr.WAIT, 1)
    root.do(pr.SLEEP, 2 * MS)
    child.do(pr.SLEEP, 1 * MS)
    child.exec()
    child.touch(BASE + 25 * 4096)
    child.do(pr.SLEEP, 3 * MS)
    for process in (root, child):
        process.do(pr.EXIT)
    return build([root, child])
