"""Results made by hand, for the tests of the reports."""

from finegrain.design import parse_design
from finegrain.machine.costs import CostModel
from finegrain.machine.shape import Shape
from finegrain.study.measure import Measurement, Task
from finegrain.study.result import Holding, Result
from finegrain.study.summarise import summarise


def make_task(design: str = "head", seconds: float = 1.0) -> Task:
    return Task(
        design=parse_design(design),
        shape=Shape(),
        costs=CostModel(),
        program="absent",
        jobs=104,
        images="private",
        free_memory="used",
        memory_bytes=1 << 30,
        seconds=seconds,
        warmup=0.1,
        seed=1,
    )


def make_row(lock_class: str, name: str, site: str, wait_us: int, hold_us: int = 50) -> dict:
    return {
        "class": lock_class,
        "name": name,
        "site": site,
        "acquisitions": 100,
        "contested": 10,
        "trylock_failures": 1,
        "wait_ps": wait_us * 10**6,
        "wait_max_ps": wait_us * 10**5,
        "block_ps": wait_us * 4 * 10**5,
        "spin_ps": wait_us * 6 * 10**5,
        "hold_ps": hold_us * 10**6,
        "hold_max_ps": 10**6,
        "depth_total": 20,
        "depth_max": 4,
        "lines": [1, 2, 3, 4, 5],
        "transfers": 30,
        "neighbour_transfers": 3,
        "transfer_ps": 2 * 10**6,
        "neighbour_ps": 10**5,
        "wait_histogram_ns": [[64, 4], [128, 6]],
        "hold_histogram_ns": [[256, 99], [1024, 1]],
    }


def make_measurement(pv_wait_us: int = 1000, map_wait_us: int = 300, exits: int = 50) -> Measurement:
    share = pv_wait_us * 10**6
    row = {"index": 7, "acquisitions": 10, "contested": 5, "wait_ps": share, "hold_ps": 10**7}
    return Measurement(
        profile=[
            make_row("rw", "pmap pv list", "pmap_enter", pv_wait_us),
            make_row("sx", "vm map (user)", "vm_fault", map_wait_us),
            make_row("sleep mutex", "never waited", "somewhere", 0),
        ],
        charged={
            ("rw:pmap pv list", "pmap_remove_pages", "pmap_enter"): share // 4,
            ("rw:pmap pv list", "(free)", "pmap_enter"): share - share // 4,
            ("sx:vm map (user)", "vm_map", "vm_fault"): map_wait_us * 10**6,
        },
        counts={"exits": exits, "faults": 1000},
        chunks_freed=[[1, 30], [3, 20]],
        pv_locks=[
            row
            | {"collision_ps": share // 4, "sharing_ps": share - share // 4}
            | {"first_pa": 7 << 21, "end_pa": 8 << 21, "period": 0}
        ],
        superpages=[row | {"collision_ps": share // 4, "sharing_ps": share - share // 4}],
        superpage_holds={7: [Holding("file", "/usr/bin/cc1", 3, 300), Holding("anonymous", None, 1, 212)]},
        pv_bytes=10240,
        cpu_times={
            "user": 600,
            "kernel": 300,
            "memory": 50,
            "spin": 30,
            "idle": 20,
            "switching": 0,
            "interrupt": 0,
        },
        wall_s=2.0,
        run_s=1.0,
    )


def make_result() -> Result:
    first, other = [make_measurement() for _ in range(2)], [make_measurement(100, 450) for _ in range(2)]
    designs = [summarise(make_task("head"), first), summarise(make_task("superpage"), other, first)]
    return Result(
        machine={"kind": "simulated", "cpus": 104, "sockets": 2, "cores": 26, "threads": 2},
        workload={
            "name": "hello",
            "kind": "tracepoints",
            "jobs": 104,
            "images": "private",
            "free_memory": "used",
        },
        seed=1,
        simulated_seconds=1.0,
        warmup_seconds=0.1,
        replications=2,
        precision=None,
        precision_reached=0.0,
        ended="complete",
        designs=designs,
        wall_s=4.0,
    )
