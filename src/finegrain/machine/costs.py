"""What things cost on the simulated machine, with the source of every figure.

Sources: [InstLat] InstLatx64 dumps for Skylake-SP; [SKX] Intel's published cache sizes of Skylake-SP; [MLC]
Intel Memory Latency Checker logs; [c2c] the core-to-core-latency project's result tables; [SOSP13] David,
Guerraoui, Trigonakis, SOSP 2013; [LKP] the Linux kernel test robot's mails on a 104-thread two-socket
Skylake-SP; [Norov] the Linux IPI benchmark posting; [Torvalds] page-fault cost post of 2014; [intel_idle]
the exit latencies in Linux's driver of that name; [Downs] "A concurrency cost hierarchy"; [OptMan] Intel's
optimization reference manual, "Data Prefetch to the L2 and Last Level Cache"; [D] derived from such figures by
arithmetic; [A] an assumption, no figure found.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from finegrain.errors import UserError

PS_PER_NS = 1000


@dataclass(frozen=True)
class CostModel:
    """Costs of a machine. Times are nanoseconds unless the name says cycles; speeds are ratios.

    The defaults are a two-socket Skylake-SP with 26 cores a socket at 2.7 GHz, the measured machine as far as it
    is known.
    """

    frequency_ghz: float = 2.7  # [A] between nominal and all-core turbo of 26-core parts
    op_cycles: float = 1.0  # [A] one simple operation of a group
    l1_hit_cycles: float = 4.0  # [InstLat]
    l2_hit_cycles: float = 14.0  # [InstLat]
    llc_hit_cycles: float = 60.0  # [MLC], 22.7 ns
    dram_local: float = 85.0  # [MLC] 80-90
    dram_remote: float = 140.0  # [MLC] 135-154: from the other socket's memory; 0: as the own
    l1_lines: float = 512.0  # [SKX] what caches hold, in lines of 64 bytes; 0: everything, for ever. 32 KiB
    l2_lines: float = 16384.0  # [SKX] 1 MiB a core
    llc_lines: float = 22528.0  # [SKX] 1.375 MiB a core, not inclusive: it takes what the L2s throw out
    # Lines a microsecond that user code on one CPU brings into each cache: 2.7 GHz at one instruction a cycle, and
    # 30, 6 and 1.5 misses in a thousand instructions, code and data, the order of a compiler's [A]; half to double
    user_l1_fills: float = 80.0
    user_l2_fills: float = 16.0
    user_llc_fills: float = 4.0
    xfer_smt: float = 7.5  # [c2c] 7-8: a modified line from the sibling
    xfer_socket: float = 50.0  # [c2c] 41-56: from another core of the socket
    xfer_cross: float = 130.0  # [c2c, MLC] 113-180: from the other socket
    share_socket: float = 50.0  # [MLC] a clean line from a peer's cache
    share_cross: float = 115.0  # [MLC, A]
    rmw_hit_cycles: float = 18.0  # [InstLat] LOCK-prefixed operation on a line held here
    line_local_first: float = (
        4.0  # [A] 0 (in order of arrival) to 16; a whole number, see simulated/arbiter.pxd
    )
    pause_cycles: float = 140.0  # [InstLat] Skylake-SP; Cascade Lake 40
    probe: float = (
        125.0  # [D] 100-150: LOCK_PROFILING's own work for a pair of lock and unlock; 0: not profiled
    )
    syscall: float = 70.0  # [LKP, D]
    fault_cycles: float = 1050.0  # [Torvalds] exception entry and return, no page-table isolation
    invlpg_cycles: float = 180.0  # [D]
    cr3_write_cycles: float = 150.0 + 3000.0  # [D] the write, and refilling the TLB after it [A]
    ipi_send: float = 300.0  # [Norov] 1.24 us to deliver, split [A]
    ipi_flight: float = 900.0  # [Norov]
    ipi_handler: float = 550.0  # [Norov, D] 1.79 - 1.24 us
    ipi_per_target: float = 250.0  # [Norov, A] sources disagree sevenfold
    ctx_switch: float = 1500.0  # [LKP, Downs] 1.1-2.5 us
    wakeup: float = 3000.0  # sleep to running on another CPU: 1-8 us, coarse
    zero_4k: float = 250.0  # [InstLat, Downs] between hot and DRAM-bound
    copy_4k: float = 400.0  # [InstLat] likewise
    time_slice: float = 94.0e6  # FreeBSD sched_ule.c: 12 ticks at 127 Hz; there less when many wait
    tick: float = 2000.0  # [A] "a few microseconds": the clock interrupt's handler; 0: no clock interrupts
    tick_period: float = 1.0e6  # FreeBSD's default hz, 1000
    idle_exit: float = 2000.0  # [intel_idle] C1, before an idle CPU handles an interrupt
    run_queues: float = 1.0  # FreeBSD sched_ule.c: 1, each CPU has a run queue; 0, one for all
    preemption: float = 1.0  # FreeBSD sched_ule.c: 1, its priorities and preemption; 0, none in the kernel
    adjacent_line: float = (
        0.0  # [OptMan] 1, the L2's spatial prefetcher completes aligned pairs of lines; 0, off
    )
    serial_shootdowns: float = 1.0  # FreeBSD smp_ipi_mtx: 1, one shootdown at a time; 0, any number
    smt_kernel: float = 0.5  # [LKP, D] speed of each of two busy siblings in the kernel
    smt_user: float = 0.6  # [A] and in user code: 1.2 times one thread for a pair

    def picoseconds(self) -> dict[str, int]:
        """Give the costs as the machine takes them: integer picoseconds, speeds as num/den."""
        cycle_ps = 1000.0 / self.frequency_ghz
        out: dict[str, int] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "frequency_ghz":
                continue
            if field.name.startswith("smt_"):
                out[field.name + "_num"] = round(value * 1000)
                out[field.name + "_den"] = 1000
            elif field.name.endswith("_fills"):
                out[field.name] = round(value * 1000)
            elif field.name in WHOLE:
                out[field.name] = int(value)
            elif field.name.endswith("_cycles"):
                out[field.name.removesuffix("_cycles")] = round(value * cycle_ps)
            else:
                out[field.name] = round(value * PS_PER_NS)
        return out

    def scaled(self, factor: float) -> "CostModel":
        """Give the model with every cost times `factor` (1: unchanged); sizes, speeds, slices and periods stay."""
        same = {"time_slice", "tick_period", *WHOLE}
        changed = {}
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if name == "frequency_ghz":
                changed[name] = value / factor
            elif (
                name not in same and not name.startswith("smt_") and not name.endswith(("_fills", "_cycles"))
            ):
                changed[name] = value * factor
        return replace(self, **changed)

    def scaled_coherence(self, factor: float) -> "CostModel":
        """Give the model with every cache-line transfer cost times `factor` (1: unchanged)."""
        names = ("xfer_smt", "xfer_socket", "xfer_cross", "share_socket", "share_cross")
        return replace(self, **{name: getattr(self, name) * factor for name in names})


# Numbers of lines, or of turns; and switches.
WHOLE = (
    "line_local_first",
    "l1_lines",
    "l2_lines",
    "llc_lines",
    "run_queues",
    "preemption",
    "adjacent_line",
    "serial_shootdowns",
)

# A clock, a speed of at most one thread alone, a slice and a pause that end; the rest are times, of a millisecond
# or a million cycles at most, which keeps sums of them far from the end of the clock (2**63 ps).
_LIMITS = {
    "frequency_ghz": (0.1, 100.0),
    "smt_kernel": (0.01, 1.0),
    "smt_user": (0.01, 1.0),
    "time_slice": (1e3, 1e9),
    "pause_cycles": (0.1, 1e6),
    "tick": (0.0, 1e5),
    "tick_period": (1.0e5, 1e9),
    "line_local_first": (0.0, 1e6),
    "run_queues": (0.0, 1.0),
    "preemption": (0.0, 1.0),
    "adjacent_line": (0.0, 1.0),
    "serial_shootdowns": (0.0, 1.0),
    "l1_lines": (0.0, 1e9),
    "l2_lines": (0.0, 1e9),
    "llc_lines": (0.0, 1e9),
}


def parse_costs(texts: Iterable[str], base: CostModel | None = None) -> CostModel:
    """Read costs that differ from `base` (the defaults), each spelled `NAME=VALUE` in the units of `CostModel`.

    UserError for a name that there is not, a value that is no number, is below 0 or too large, or a name given twice.
    """
    names = [field.name for field in fields(CostModel)]
    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in names:
            raise UserError(f"--cost {text!r}: there is no cost {name!r}; there are {', '.join(names)}")
        if name in given:
            raise UserError(f"--cost {text!r}: {name} is given twice")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        low, high = _LIMITS.get(name, (0.0, 1e6))
        if not equals or not low <= number <= high:
            raise UserError(f"--cost {text!r}: give {name} a number from {low:g} to {high:g}")
        given[name] = number
    for name in WHOLE:
        if name in given and not given[name].is_integer():
            raise UserError(f"--cost {name}: give it a whole number")
    return replace(base or CostModel(), **given)


FREE = CostModel(
    **{
        f.name: 0.0
        for f in fields(CostModel)
        if f.name not in ("frequency_ghz", "time_slice", "tick_period", "pause_cycles")
    }
    | {"smt_kernel": 1.0, "smt_user": 1.0, "pause_cycles": 1.0}
)
"""Everything costs nothing but a cycle a pause: for checks against closed forms."""
