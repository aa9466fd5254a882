"""The bare engine: 104 CPUs that think, take one of 256 locks, hold it and let it go; and the same model in SimPy."""

import random
import time
from dataclasses import replace

import simpy

from doors.customers import customers_start
from finegrain.lab.profile import enable_profile, read_names
from finegrain.machine.costs import CostModel
from finegrain.machine.simulated import SimulatedMachine

CPUS, LOCKS = 104, 256
THINK_NS, HOLD_NS = 10_000.0, 300.0  # means of exponential times


def simulate(seconds: float, *, profile: bool = True, seed: int = 1) -> tuple[int, float]:
    """Simulate so much time on the default machine: lock/unlock pairs and the CPU time they took."""
    # The cost that profiling has on the simulated machine is no part of what is timed here.
    machine = SimulatedMachine(costs=replace(CostModel(), probe=0))
    customers_start(machine, CPUS, LOCKS, int(THINK_NS * 1000), int(HOLD_NS * 1000), seed=seed)
    warm_up = 10**9
    machine.run(warm_up)
    before = sum(n["released"] for n in read_names(machine, warm_up).values())
    enable_profile(machine, profile)
    start = time.process_time()
    machine.run(warm_up + int(seconds * 1e12))
    spent = time.process_time() - start
    return sum(n["released"] for n in read_names(machine, machine.time_ps).values()) - before, spent


def pairs_per_second(seconds: float = 0.1, repeats: int = 5) -> float:
    """Lock/unlock pairs a second of CPU time: the best of a few runs, as other work on the machine only slows."""
    return max(pairs / spent for pairs, spent in (simulate(seconds) for _ in range(repeats)))


def simpy_pairs_per_second(pairs: int = 40_000, repeats: int = 3) -> float:
    """The same for SimPy: a process a CPU, a resource a lock."""

    def customer(
        env: simpy.Environment, locks: list[simpy.Resource], rng: random.Random
    ) -> simpy.events.ProcessGenerator:
        while True:
            yield env.timeout(rng.expovariate(1 / THINK_NS))
            with locks[rng.randrange(LOCKS)].request() as request:
                yield request
                yield env.timeout(rng.expovariate(1 / HOLD_NS))
            count[0] += 1

    best = 0.0
    for _ in range(repeats):
        env = simpy.Environment()
        locks = [simpy.Resource(env) for _ in range(LOCKS)]
        count = [0]
        for cpu in range(CPUS):
            env.process(customer(env, locks, random.Random(cpu)))
        start = time.process_time()
        env.run(pairs * (THINK_NS + HOLD_NS) / CPUS)
        best = max(best, count[0] / (time.process_time() - start))
    return best


def profiling_cost(seconds: float = 0.05, repeats: int = 9) -> tuple[float, float]:
    """CPU seconds of the same run with the lock profile counting and without: the best of runs taken in turn."""
    on = off = float("inf")
    for _ in range(repeats):
        on = min(on, simulate(seconds)[1])
        off = min(off, simulate(seconds, profile=False)[1])
    return on, off


if __name__ == "__main__":
    ours, theirs = pairs_per_second(), simpy_pairs_per_second()
    print(f"finegrain {ours:,.0f} pairs a second, SimPy {theirs:,.0f}: {ours / theirs:.1f} times as many")
    with_profile, without = profiling_cost()
    print(f"profiling costs {(with_profile / without - 1) * 100:.1f}%")
