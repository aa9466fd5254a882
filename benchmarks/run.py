"""`make bench`: speed and memory, as figures and ratios from one run on this machine.

Each part prints its figures beside the goal that they are held against. Machines are shared and noisy: ratios within
one run say more than times.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from finegrain.study.defaults import DEFAULT_WORKLOAD

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def bench_engine() -> None:
    import engine

    heading("Bare engine: 104 CPUs, 256 locks, against SimPy running the same model")
    ours, simpy = engine.pairs_per_second(), engine.simpy_pairs_per_second()
    print(f"finegrain  {ours:12,.0f} lock/unlock pairs a second")
    print(f"SimPy      {simpy:12,.0f}")
    print(f"ratio      {ours / simpy:12.1f}  (goal: at least 50)")
    on, off = engine.profiling_cost()
    print(f"profiling  {(on / off - 1) * 100:11.1f}% of a run's time  (goal: below 10)")


def bench_replay() -> None:
    """Lock operations simulated a second of wall time, by machine size, each in a process of its own."""
    heading("Replay of the bundled recording: lock operations simulated a second of wall time, one process")
    code = (
        "import sys, json, resource, time\n"
        "from finegrain.study.measure import *\n"
        "from finegrain.design import parse_design\n"
        "from finegrain.machine.shape import shape_of\n"
        "from finegrain.study.defaults import DEFAULT_MEMORY\n"
        "from finegrain.options import KernelOptions\n"
        "program, n, warm, sec = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])\n"
        "t = time.perf_counter()\n"
        "task = Task(design=parse_design('head'), shape=shape_of(n), costs=CostModel(), program=program, jobs=n,"
        " images='private', free_memory='used', memory_bytes=DEFAULT_MEMORY, seconds=sec, warmup=warm, seed=1,"
        " options=KernelOptions())\n"
        "m = measure(task)\n"
        "ops = 2 * sum(r['acquisitions'] for r in m.profile)\n"
        "print(json.dumps({'ops': ops, 'run_s': m.run_s, 'set_up_s': m.wall_s - m.run_s,"
        " 'rss': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))\n"
    )
    with TemporaryDirectory() as directory:
        store = "import sys; from finegrain.workload.stored import *; store_program(sys.argv[1], sys.argv[2])"
        subprocess.run([sys.executable, "-c", store, DEFAULT_WORKLOAD, directory], check=True)
        for cpus, warmup, seconds in ((16, 0.1, 1.0), (104, 0.05, 0.2), (1024, 0.01, 0.02)):
            arguments = [directory, str(cpus), str(warmup), str(seconds)]
            out = subprocess.run(
                [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
            )
            report_replay(cpus, out)


def report_replay(cpus: int, out: subprocess.CompletedProcess[str]) -> None:
    if out.returncode:
        sys.exit(f"{cpus} CPUs: failed: {out.stderr.strip().splitlines()[-1]}")
    figures = json.loads(out.stdout)
    goal = "  (goal: 3 million)" if cpus == 104 else ""
    print(
        f"{cpus:5d} CPUs  {figures['ops'] / figures['run_s'] / 1e6:6.2f} million a second{goal}; "
        f"set-up and warm-up {figures['set_up_s']:.1f} s, {figures['rss'] / 1024:,.0f} MiB"
    )


def bench_compare() -> None:
    run_compare("The whole comparison with default settings", [], seconds=60, mib=2048)


def bench_large() -> None:
    run_compare("The whole comparison on 1,024 CPUs", ["--cpus", "1024"], seconds=300, mib=8192)


def run_compare(title: str, options: list[str], *, seconds: int, mib: int) -> None:
    heading(title)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "finegrain.cli.main", "compare", *options],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, group_rss(process.pid))
        time.sleep(0.1)
    wall = time.perf_counter() - began
    print(f"wall time  {wall:8.1f} s    (goal: at most {seconds} on 2 cores)")
    print(f"memory     {peak / 2**20:8,.0f} MiB  (goal: at most {mib:,}; sum of its processes, sampled)")
    if process.returncode:
        sys.exit(f"finegrain compare failed with status {process.returncode}")


def group_rss(session: int) -> int:
    """Bytes of private and shared memory of all processes of a session, shared pages counted in proportion."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if os.getsid(int(entry.name)) != session:
                continue
            for line in (entry / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except (OSError, ProcessLookupError):
            continue
    return total


PARTS: dict[str, Callable[[], None]] = {
    "engine": bench_engine,
    "replay": bench_replay,
    "compare": bench_compare,
    "large": bench_large,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    chosen = parser.parse_args().parts or list(PARTS)
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs")
    for part in chosen:
        PARTS[part]()
    print(f"\npeak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
