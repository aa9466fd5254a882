"""Random threads on random locks: exclusion, no lost wake-ups, exact accounts, on fewer CPUs than threads."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from finegrain.lab.profile import read_charged, read_names, read_profile
from finegrain.machine.costs import CostModel
from kernel.scripts import PAUSES_ONLY, Played

KINDS = [
    "sx",
    "lockmgr",
    "rw",
    "mtx",
    "mtx8",
    "bit2",
    "spin",
]  # also the lock order: what may be held across a sleep comes first
SHARED = ("rw", "sx", "lockmgr")
TIME = st.integers(0, 300).map(lambda us: us * 1_000_017)


@st.composite
def section(
    draw: st.DrawFn, kinds: list[str], first: int, may_sleep: bool, in_spin: bool
) -> list[tuple[Any, ...]]:
    """Take a lock from `first` on in one way or another, do something under it, let it go."""
    lock = draw(st.integers(first, len(kinds) - 1))
    kind = kinds[lock]
    may_sleep = may_sleep and kind in ("sx", "lockmgr")
    in_spin = in_spin or kind == "spin"
    shared = kind in SHARED and draw(st.booleans())
    only_try = kind != "spin" and draw(st.integers(0, 3)) == 0
    inside = draw(work(kinds, lock + 1, may_sleep, in_spin))
    if kind in SHARED and draw(st.booleans()):
        inside = [
            *inside,
            ("upgrade" if shared else "downgrade", lock),
            *draw(work(kinds, lock + 1, may_sleep, in_spin)),
        ]
    if kind == "bit2" and draw(st.booleans()):
        inside.append(("set_generation", lock, draw(st.integers(0, (1 << 62) - 1))))
    inside.append(("unlock", lock))
    take = ("r" if shared else "") + "lock"
    return [("try" + take, lock, len(inside)) if only_try else (take, lock), *inside]


@st.composite
def work(
    draw: st.DrawFn, kinds: list[str], first: int, may_sleep: bool, in_spin: bool
) -> list[tuple[Any, ...]]:
    script: list[tuple[Any, ...]] = []
    for _ in range(draw(st.integers(0, 3))):
        how = draw(st.sampled_from(["charge", "user", "sleep", "lock", *["look"] * ("bit2" in kinds)]))
        if how == "lock":
            if first < len(kinds):
                script += draw(section(kinds, first, may_sleep, in_spin))
        elif how == "look":
            script.append(("generation", kinds.index("bit2")))
        elif (how == "sleep" and not may_sleep) or (how == "user" and in_spin):
            script.append(("charge", draw(TIME)))
        else:
            script.append((how, draw(TIME)))
    return script


@st.composite
def plays(draw: st.DrawFn) -> dict[str, Any]:
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4)), key=KINDS.index)
    scripts: list[list[tuple[Any, ...]]] = []
    for _ in range(draw(st.integers(1, 12))):
        scripts.append([("priority", draw(st.integers(100, 130)))])
        for _ in range(draw(st.integers(1, 4))):
            scripts[-1] += [("charge", draw(TIME)), *draw(section(kinds, 0, True, False))]
    smt = draw(st.sampled_from([1, 2]))
    costs = draw(st.sampled_from([PAUSES_ONLY, CostModel(), replace(CostModel(), time_slice=50_000.0)]))
    return {
        "locks": kinds,
        "scripts": scripts,
        "shape": {
            "sockets": draw(st.integers(1, 2)),
            "cores": draw(st.integers(1, 4 // smt)),
            "threads": smt,
        },
        "costs": costs,
    }


def check_generations(p: Played, locks: list[str]) -> None:
    """Who looks at a generation sees what was set last, or what is being set meanwhile, and nothing else.

    Where nothing takes time, what was set at the moment of the look may have been set after it.
    """
    for lock in range(len(locks)):
        sets = [(-1, -1, 0)]  # from when to when, and to what
        looks = []
        for begin, end, script, index, op, result in p.trace:
            call = p.scripts.scripts[script][index]
            if op == "set_generation" and call[1] == lock:
                sets.append((begin, end, call[2]))
            elif op == "generation" and call[1] == lock:
                looks.append((begin, end, result))
        sets.sort()
        for begin, end, seen in looks:
            last = max(done for _, done, _ in sets if done < begin)
            assert seen in {value for start, done, value in sets if start <= end and done >= last}


def audit(p: Played, locks: list[str]) -> None:
    """No two holds of a lock overlap in simulated time unless both are shared; every attempt is counted."""
    attempts = failures = 0
    last: dict[int, int] = {}  # by thread: its clock
    since: dict[tuple[int, int], tuple[int, bool]] = {}  # by lock and thread: from when, shared
    holds: list[list[tuple[int, int, bool]]] = [[] for _ in locks]
    for begin, end, script, index, op, result in p.trace:
        assert last.get(script, 0) <= begin <= end
        last[script] = end
        if op not in {"lock", "rlock", "trylock", "tryrlock", "upgrade", "downgrade", "unlock"}:
            continue
        lock = p.scripts.scripts[script][index][1]
        if op != "unlock":
            attempts += 1
            if op in {"trylock", "tryrlock", "upgrade"} and not result:
                failures += 1
                continue
        if (lock, script) in since:
            start, shared = since.pop((lock, script))
            holds[lock].append((start, begin, shared))
        if op != "unlock":
            # A downgrade lets others in before it returns.
            since[lock, script] = (
                begin if op == "downgrade" else end,
                op in {"rlock", "tryrlock", "downgrade"},
            )
    assert not since
    for spans in holds:
        for i, (start, end, shared) in enumerate(spans):
            for other_start, other_end, other_shared in spans[:i]:
                assert start >= other_end or end <= other_start or (shared and other_shared)
    rows = read_profile(p.machine)
    assert sum(row["acquisitions"] for row in rows) == attempts - failures
    assert sum(row["trylock_failures"] for row in rows) == failures


def everything(p: Played) -> tuple[Any, ...]:
    m = p.machine
    return (
        p.trace,
        read_profile(m),
        read_charged(m),
        read_names(m, m.time_ps),
        m.cpu_times(),
        m.line_accesses(),
        m.counters(),
    )


relaxed = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    phases=[
        Phase.explicit,
        Phase.generate,
    ],  # a failing play is short enough to read; shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@relaxed
@given(how=plays())
def test_random_threads_on_random_locks(play: Callable[..., Played], how: dict[str, Any]) -> None:
    p = play(how["locks"], *how["scripts"], costs=how["costs"], **how["shape"])
    assert p.machine.threads == 0
    audit(p, how["locks"])
    check_generations(p, how["locks"])
    again = play(how["locks"], *how["scripts"], costs=how["costs"], **how["shape"])
    assert everything(p) == everything(again)


@relaxed
@given(how=plays(), until=st.integers(0, 500_000_000))
def test_a_run_in_two_parts_is_the_same_run(
    play: Callable[..., Played], how: dict[str, Any], until: int
) -> None:
    whole = play(how["locks"], *how["scripts"], costs=how["costs"], **how["shape"])
    part = play(how["locks"], *how["scripts"], costs=how["costs"], until=until, **how["shape"])
    names = read_names(part.machine, until)
    charged = sum(read_charged(part.machine).values())
    waits = sum(row["wait_ps"] for row in read_profile(part.machine))
    # Little's law and the charging of waits hold at any moment.
    assert sum(n["queue_integral_ps"] for n in names.values()) == waits + sum(
        n["pending_ps"] for n in names.values()
    )
    assert charged == waits + sum(n["pending_charged_ps"] for n in names.values())
    for n in names.values():
        assert n["acquired"] - n["released"] == n["held"]
    for cpu in part.machine.cpu_times():
        assert cpu.pop("clock") == sum(cpu.values())
    part.machine.run()
    part.trace = part.scripts.trace()
    assert everything(part)[:-1] == everything(whole)[:-1]  # stopping is an event more


@relaxed
@given(how=plays(), factor=st.sampled_from([2, 3, 10]))
def test_all_costs_times_k_give_all_times_times_k(
    play: Callable[..., Played], how: dict[str, Any], factor: int
) -> None:
    class Scaled(CostModel):
        """Whole picoseconds, so that nothing is rounded; siblings at half speed for the same reason."""

        def picoseconds(self) -> dict[str, int]:
            halves = {"smt_kernel_num": 1, "smt_kernel_den": 2, "smt_user_num": 1, "smt_user_den": 2}
            base = CostModel().picoseconds()
            same = {"line_local_first": base["line_local_first"]}  # a number of times, no time
            return {k: v * self.factor for k, v in base.items() if k not in halves} | halves | same

    def scaled(k: int) -> list[list[tuple[Any, ...]]]:
        # User time passes in pieces of a fixed length, which do not scale; work in the kernel does.
        return [
            [
                ("charge" if op == "user" else op, args[0] * k)
                if op in ("charge", "user", "sleep")
                else (op, *args)
                for op, *args in script
            ]
            for script in how["scripts"]
        ]

    runs = []
    for k in (1, factor):
        costs = Scaled()
        object.__setattr__(costs, "factor", k)
        p = play(how["locks"], *scaled(k), costs=costs, **how["shape"])
        runs.append([(b // k, e // k, *rest) for b, e, *rest in p.trace])
        assert all(b % k == 0 and e % k == 0 for b, e, *_ in p.trace)
    assert runs[0] == runs[1]
