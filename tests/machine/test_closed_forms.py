"""The engine and its locks against queueing theory, with every cost of the machine at zero.

Each model runs in batches; the 99.9 % confidence interval of the batch means must hold the exact value, and must be
narrow enough that a wrong model would not pass.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from math import comb, exp, factorial

import pytest

from doors.customers import customers_start
from doors.queues import Station
from finegrain.lab.profile import read_profile
from finegrain.machine.costs import FREE
from finegrain.machine.simulated import SimulatedMachine

S = 10**11  # the hold time in ps: long against a back-off
BATCHES = 20
NOTHING = replace(FREE, pause_cycles=0.0027)  # a pause lasts 1 ps: the longest back-off is nothing against S
STUDENT = 3.883  # Student's t, 19 degrees of freedom, 99.9 % two-sided


def machine(cpus: int = 128) -> SimulatedMachine:
    return SimulatedMachine(sockets=2, cores=cpus // 2, threads=1, costs=NOTHING)


def run_batches(
    m: SimulatedMachine, span: int, read: Callable[[], tuple[float, ...]]
) -> list[tuple[float, ...]]:
    """Differences of what `read` gives over successive spans of simulated time, after one to warm up."""
    rows = []
    m.run(span)
    before = read()
    for batch in range(BATCHES):
        m.run((batch + 2) * span)
        after = read()
        rows.append(tuple(b - a for a, b in zip(before, after, strict=True)))
        before = after
    return rows


def check(name: str, values: list[float], exact: float, width: float) -> None:
    mean = statistics.fmean(values)
    half = STUDENT * statistics.stdev(values) / math.sqrt(len(values))
    assert half <= width * exact, f"{name}: {mean} +- {half} is too wide to tell anything ({exact})"
    assert abs(mean - exact) <= half + 1e-5 * exact, f"{name}: {mean} +- {half}, exactly {exact}"


# --- one lock, exponential and fixed hold times ---


def machine_repair(n: int, r: float) -> tuple[float, float]:
    """M/M/1//N: throughput and mean wait, in units of the hold time."""
    p0 = 1 / sum(factorial(n) / factorial(n - k) * r**-k for k in range(n + 1))
    x = 1 - p0
    return x, n / x - r - 1


def takacs(n: int, r: float) -> tuple[float, float]:
    """M/D/1//N: the same with a fixed hold time."""
    q = 0.0
    for k in range(n):
        q += comb(n - 1, k) * math.prod(exp(i / r) - 1 for i in range(1, k + 1))
    rho = n / r * q
    x = rho / (1 + rho)
    return x, n / x - r - 1


# cost-model facts, tables 2.1 and 2.2: N, r, X and W with exponential holds, the same with fixed ones
ONE_LOCK = [
    (1, 1, 0.5, 0.0, 0.5, 0.0),
    (1, 10, 0.0909091, 0.0, 0.0909091, 0.0),
    (1, 100, 0.00990099, 0.0, 0.00990099, 0.0),
    (2, 1, 0.8, 0.5, 0.844638, 0.367879),
    (2, 10, 0.180328, 0.0909091, 0.181022, 0.0483742),
    (2, 100, 0.0198, 0.00990099, 0.019801, 0.00498337),
    (8, 1, 0.999991, 6.00007, 1.0, 6.0),
    (8, 10, 0.661682, 1.09041, 0.685317, 0.673429),
    (8, 100, 0.0791503, 0.0735885, 0.0791789, 0.0370815),
    (8, 1000, 0.00799195, 0.00703509, 0.00799198, 0.00351993),
    (104, 1, 1.0, 102.0, 1.0, 102.0),
    (104, 10, 1.0, 93.0, 1.0, 93.0),
    (104, 100, 0.946757, 8.84872, 0.96569, 6.69502),
    (104, 1000, 0.103884, 0.114543, 0.10389, 0.0573222),
]


@pytest.mark.parametrize(("n", "r", "x", "w", "x_fixed", "w_fixed"), ONE_LOCK)
def test_formulas_give_the_tables(n: int, r: int, x: float, w: float, x_fixed: float, w_fixed: float) -> None:
    assert machine_repair(n, r) == (pytest.approx(x, rel=2e-5), pytest.approx(w, rel=2e-5, abs=1e-9))
    if (n, r) not in {(104, 1), (104, 10)}:  # the sum overflows there
        assert takacs(n, r) == (pytest.approx(x_fixed, rel=2e-5), pytest.approx(w_fixed, rel=2e-5, abs=1e-9))


def mutex_batches(
    n: int, r: float, fixed: bool, locks: int, served: int, **how: object
) -> tuple[list[float], list[float]]:
    """Throughput and mean wait by batch, in units of the hold time, of n threads round real locks."""
    m = machine()
    customers_start(m, n, locks, int(r * S), S, hold_exponential=not fixed, **how)  # type: ignore[arg-type]
    x = machine_repair(n, r)[0] if r and locks == 1 else min(n / (r + 1), locks)

    def read() -> tuple[float, float]:
        rows = read_profile(m)
        return sum(p["acquisitions"] for p in rows), sum(p["wait_ps"] for p in rows)

    rows = run_batches(m, int(served / BATCHES / x) * S, read)
    span = int(served / BATCHES / x)
    return [a / span for a, _ in rows], [w / a / S for a, w in rows]


def served_by(n: int, r: int) -> int:
    if n == 104 and r <= 10:
        return 20_000  # every release wakes a hundred spinners
    return 40_000 if n == 1 else 400_000


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("n", "r", "x", "w", "x_fixed", "w_fixed"), ONE_LOCK)
def test_one_mutex(n: int, r: int, x: float, w: float, x_fixed: float, w_fixed: float, fixed: bool) -> None:
    xs, ws = mutex_batches(n, r, fixed, 1, served_by(n, r))
    check("X", xs, x_fixed if fixed else x, 0.05)
    if n == 1:
        assert ws == [0.0] * BATCHES
    else:
        check("W", ws, w_fixed if fixed else w, 0.12)


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_writers_of_an_rw_or_sx_lock_are_a_mutex(kind: str) -> None:
    x, w = machine_repair(8, 10)
    xs, ws = mutex_batches(8, 10, False, 1, 200_000, kind=kind)
    check("X", xs, x, 0.02)
    check("W", ws, w, 0.05)


@pytest.mark.parametrize(("r", "w"), [(100, 3.0), (1000, 0.0)])
def test_all_fixed(r: int, w: float) -> None:
    """D/D/1//N, steady: X = min(N / (Z + S), 1 / S), R = max(S, N S - Z)."""
    m = machine()
    station = Station(m, 104, r * S, S, fixed=True)
    span = 4 * (r + 1)
    rows = run_batches(m, span * S, lambda: station.counts()[1][:3])
    assert statistics.fmean(n / span for n, _, _ in rows) == pytest.approx(min(104 / (r + 1), 1.0), rel=1e-6)
    assert statistics.fmean(t / n / S for n, _, t in rows) == pytest.approx(w, abs=1e-6)


# --- first in, first out: the whole distribution ---


@pytest.mark.parametrize(
    ("n", "r", "waits", "mean", "variance"),
    [
        (8, 10, 0.590959, 1.090408, 2.539787),
        (104, 100, 0.941513, 8.848716, 51.246366),
        (104, 1000, 0.102885, 0.114543, 0.241890),
    ],
)
def test_fifo_waiting_times(n: int, r: int, waits: float, mean: float, variance: float) -> None:
    m = machine()
    station = Station(m, n, r * S, S)
    x = machine_repair(n, r)[0]
    rows = run_batches(m, int(30_000 / x) * S, lambda: station.counts()[1])
    check("P(W > 0)", [w / c for c, w, _, _ in rows], waits, 0.02)
    check("E W", [t / c / S for c, _, t, _ in rows], mean, 0.05)
    # About the exact mean: unbiased although batches are short.
    check("Var W", [(q / c / S - 2 * mean * t / c) / S + mean**2 for c, _, t, q in rows], variance, 0.1)


# --- many locks ---


def mva(n: int, r: float, k: int) -> tuple[float, float, float, float]:
    """Exact mean value analysis: throughput, response, utilisation and mean number at each of k equal locks."""
    q = x = response = 0.0
    for i in range(1, n + 1):
        response = 1 + q
        x = i / (r + response)
        q = x * response / k
    return x, response, x / k, q


# cost-model facts, table 2.3 (N = 104): r, K, X, R, U, Q
MANY_LOCKS = [
    (0, 1, 1, 104, 1, 104),
    (0, 16, 13.983193, 7.4375, 0.87395, 6.5),
    (0, 256, 74.16156, 1.402344, 0.289694, 0.40625),
    (1, 1, 1, 103, 1, 103),
    (1, 16, 13.71762, 6.58149, 0.857351, 5.642649),
    (1, 256, 46.825781, 1.220999, 0.182913, 0.223337),
    (10, 1, 1, 94, 1, 94),
    (10, 16, 8.583796, 2.115852, 0.536487, 1.135127),
    (10, 256, 9.422153, 1.037817, 0.0368053, 0.0381972),
    (100, 1, 0.946757, 9.84872, 0.946757, 9.32434),
    (100, 16, 1.02901, 1.06798, 0.0643131, 0.0686852),
    (100, 256, 1.029662, 1.003999, 0.00402212, 0.0040382),
    (1000, 1, 0.103884, 1.11454, 0.103884, 0.115783),
    (1000, 16, 0.103895, 1.006472, 0.00649346, 0.00653549),
    (1000, 256, 0.103896, 1.000402, 0.000405844, 0.000406007),
]


@pytest.mark.parametrize(("r", "k", "x", "response", "u", "q"), MANY_LOCKS)
def test_mva_gives_the_table(r: int, k: int, x: float, response: float, u: float, q: float) -> None:
    assert mva(104, r, k) == pytest.approx((x, response, u, q), rel=2e-5)


@pytest.mark.parametrize(("r", "k"), [(r, k) for r, k, *_ in MANY_LOCKS if k > 1])
def test_many_mutexes(r: int, k: int) -> None:
    x, response, _, _ = mva(104, r, k)
    xs, ws = mutex_batches(104, r, False, k, 60_000 if r <= 1 and k == 16 else 250_000)
    check("X", xs, x, 0.03)
    check("R", [w + 1 for w in ws], response, 0.05)
    # Bounds of every run: X <= min(N / (Z + S), K / S); X >= N / (Z + S (1 + (N - 1) / K)), equal when Z = 0.
    mean = statistics.fmean(xs)
    assert mean <= 1.01 * min(104 / (r + 1), k)
    assert mean >= 0.99 * 104 / (r + 1 + 103 / k)


# --- readers and writers ---

READERS_WRITERS = [
    # policy, N, Z, p, X, reader wait, writer wait: cost-model facts, section 2.4
    ("any", 2, 1, 0.1, 0.954654, 0.05, 0.5),
    ("any", 2, 1, 0.5, 16 / 19, 0.25, 0.5),
    ("readers first", 8, 10, 0.01, 0.726360, 0.006360, 0.752403),
    ("readers first", 8, 10, 0.1, 0.718122, 0.063227, 0.832592),
    ("readers first", 8, 10, 0.5, 0.683583, 0.306029, 1.100058),
    ("writers first", 8, 10, 0.01, 0.726105, 0.012192, 0.561369),
    ("writers first", 8, 10, 0.1, 0.716173, 0.123392, 0.594330),
    ("writers first", 8, 10, 0.5, 0.682091, 0.694624, 0.762657),
    ("readers first", 104, 100, 0.01, 1.029458, 0.010197, 1.389670),
    ("readers first", 104, 100, 0.1, 1.026954, 0.101802, 1.787185),
    ("readers first", 104, 100, 0.5, 1.001171, 0.497400, 5.259233),
    ("readers first", 104, 1000, 0.01, 0.103896, 0.001029, 0.105846),
    ("readers first", 104, 1000, 0.1, 0.103894, 0.010290, 0.108093),
    ("readers first", 104, 1000, 0.5, 0.103887, 0.051446, 0.114838),
]


@pytest.mark.parametrize(("policy", "n", "z", "p", "x", "reader", "writer"), READERS_WRITERS)
def test_readers_and_writers(
    policy: str, n: int, z: int, p: float, x: float, reader: float, writer: float
) -> None:
    m = machine()
    station = Station(m, n, z * S, S, kind="readers first" if policy == "any" else policy, writers=p)
    span = int(30_000 / x)
    rows = run_batches(m, span * S, lambda: station.counts()[0] + station.counts()[1])
    check("X", [(r[0] + r[4]) / span for r in rows], x, 0.02)
    check("reader wait", [r[2] / r[0] / S for r in rows], reader, 0.25)
    check("writer wait", [r[6] / r[4] / S for r in rows], writer, 0.25)
    # Time a writer is in = X p S.
    check("writers", [r[4] / (r[0] + r[4]) for r in rows], p, 0.1)


@pytest.mark.parametrize("kind", ["rw", "sx"])
@pytest.mark.parametrize(("p", "x", "reader", "writer"), [row[3:] for row in READERS_WRITERS[:2]])
def test_two_customers_of_an_rw_lock(kind: str, p: float, x: float, reader: float, writer: float) -> None:
    m = machine(2)
    customers_start(m, 2, 1, S, S, kind=kind, write_fraction=p)

    def read() -> tuple[float, ...]:
        by_site = {row["site"]: row for row in read_profile(m)}
        pairs = [by_site.get(site, {}) for site in ("bench/read", "bench/write")]
        return tuple(row.get(key, 0) for row in pairs for key in ("acquisitions", "wait_ps"))

    rows = run_batches(m, 10_000 * S, read)
    check("X", [(r[0] + r[2]) / 10_000 for r in rows], x, 0.02)
    check("reader wait", [r[1] / r[0] / S for r in rows], reader, 0.1)
    check("writer wait", [r[3] / r[2] / S for r in rows], writer, 0.1)


@pytest.mark.parametrize("kind", ["rw", "sx"])
def test_readers_alone_never_wait(kind: str) -> None:
    xs, ws = mutex_batches(8, 10, False, 1, 100_000, kind=kind, write_fraction=0.0)
    check("X", xs, 8 / 11, 0.03)
    assert ws == [0.0] * BATCHES


# --- ticket lock ---


def ticket(n: int, a: float, s: float, c: float) -> float:
    """Speed-up by the chain of Boyd-Wickizer, Kaashoek, Morris, Zeldovich (OLS 2012)."""
    logs = [0.0]
    for k in range(n):
        logs.append(logs[-1] + math.log((n - k) / a) + math.log(s + c * k / 2))
    top = max(logs)
    p = [exp(x - top) for x in logs]
    return n - sum(k * x for k, x in enumerate(p)) / sum(p)


TICKET = [  # a, s, c, n, speed-up: cost-model facts, section 2.5
    (10_000, 400, 0, 8, 7.592740),
    (10_000, 400, 0, 24, 20.800422),
    (10_000, 400, 0, 48, 24.999647),
    (10_000, 400, 0, 104, 25.0),
    (10_000, 400, 100, 2, 1.919528),
    (10_000, 400, 100, 8, 7.549656),
    (10_000, 400, 100, 16, 13.905503),
    (10_000, 400, 100, 24, 9.919292),
    (10_000, 400, 100, 32, 6.131600),
    (10_000, 400, 100, 40, 4.748409),
    (10_000, 400, 100, 48, 3.922171),
    (10_000, 400, 100, 104, 1.832334),
    (10_000, 400, 200, 8, 7.495306),
    (10_000, 400, 200, 16, 11.108944),
    (10_000, 400, 200, 24, 4.504397),
    (10_000, 400, 200, 48, 2.044541),
    (10_000, 400, 200, 104, 0.942969),
    (40_000, 400, 100, 32, 31.460891),
    (40_000, 400, 100, 40, 39.110450),
    (40_000, 400, 100, 48, 45.199042),
    (40_000, 400, 100, 104, 7.754726),
    (40_000, 400, 200, 32, 31.218362),
    (40_000, 400, 200, 40, 22.297875),
    (40_000, 400, 200, 48, 9.787250),
    (40_000, 400, 200, 104, 3.880483),
]


@pytest.mark.parametrize(("a", "s", "c", "n", "speedup"), TICKET)
def test_ticket_chain_gives_the_table(a: int, s: int, c: int, n: int, speedup: float) -> None:
    assert ticket(n, a, s, c) == pytest.approx(speedup, rel=1e-6)


# Not the two cells between both regimes, where the lock stays collapsed or free for very long.
@pytest.mark.parametrize(
    ("a", "s", "c", "n", "speedup"),
    [row for row in TICKET if row[:4] not in {(40_000, 400, 100, 48), (40_000, 400, 200, 40)}],
)
def test_ticket_lock_collapses(a: int, s: int, c: int, n: int, speedup: float) -> None:
    unit = 10**7
    m = machine()
    station = Station(m, n, a * unit, s * unit, kind="ticket", slow=c * unit)
    span = int(10_000 * a / speedup)
    rows = run_batches(m, span * unit, lambda: station.counts()[1][:1])
    check("speed-up", [served * a / span for (served,) in rows], speedup, 0.03)
