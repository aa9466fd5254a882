from pathlib import Path

from finegrain.design import parse_design
from finegrain.machine.costs import CostModel
from finegrain.machine.shape import DEFAULT_SHAPE
from finegrain.study.defaults import DEFAULT_MEMORY, DEFAULT_WORKLOAD
from finegrain.study.measure import Task, holdings, lock_key, measure
from finegrain.study.result import Holding
from finegrain.workload.stored import store_program

FILES = ["/bin/a", "/bin/b"]


def test_what_a_superpage_holds_is_told_by_keys_most_pages_first() -> None:
    counts = {
        ("file", 1, 0): 10,
        ("file", 0, 4): 50,
        ("file", 1, 7): 30,
        ("kernel", -1, -1): 50,
        ("anonymous", -1, -1): 50,
    }
    assert holdings(counts, FILES) == [
        Holding("file", "/bin/a", copies=1, pages=50),
        Holding("anonymous", None, copies=1, pages=50),
        Holding("kernel", None, copies=1, pages=50),
        Holding("file", "/bin/b", copies=2, pages=40),
    ]


def test_a_superpage_that_is_free_holds_nothing() -> None:
    assert holdings({}, FILES) == []


# --- critical sections cost what they touch

SHORT_NS = 20
OFTEN = 50  # acquisitions: a mean of fewer says little
_FIELDS = "a count or two in a line that this CPU has used just before: nothing else is touched"
_JUST_USED = "reads lines that its caller has just used: in the L1"
SHORT = {
    ("rw:vm object", "vm_map_insert"): _FIELDS,
    ("rw:vm object", "vm_object_reference"): _FIELDS,
    (
        "rw:vm object",
        "vm_fault/copy-on-write",
    ): "a count of the backing object, and of its shadows, beside the lock",
    ("sleep mutex:process lock", "fork1/vfork"): _FIELDS,
    ("sleep mutex:sigacts", "exit1"): "does the parent ignore the signal: a flag in the mutex's own line",
    ("sleep mutex:pipe mutex", "pipeclose"): "marks an end as closed, in the line behind the mutex",
    ("sleep mutex:vm page", "vm_fault_dirty"): _JUST_USED + ": the page, which has just been mapped",
    ("sleep mutex:pmap", "pmap_is_prefaultable/pmap"): _JUST_USED + ": the page table of the fault",
    (
        "sleep mutex:resv obj lock",
        "vm_reserv_alloc_page/object",
    ): "an object's first pages have no neighbours to read",
}


def test_every_critical_section_under_20_ns_has_a_reason(tmp_path: Path) -> None:
    """Of a short run as `compare` makes them: which acquisition points hold their lock for less on average, and why."""
    store_program(DEFAULT_WORKLOAD, str(tmp_path))
    task = Task(
        design=parse_design("head"), shape=DEFAULT_SHAPE, costs=CostModel(), program=str(tmp_path), jobs=104,
        images="private", free_memory="used", memory_bytes=DEFAULT_MEMORY, seconds=0.02, warmup=0.01, seed=1,
    )  # fmt: skip
    rows = [row for row in measure(task).profile if row["acquisitions"] >= OFTEN]
    assert len(rows) > 40
    short = {
        (lock_key(row), row["site"]) for row in rows if row["hold_ps"] < SHORT_NS * 1000 * row["acquisitions"]
    }
    seen = {(lock_key(row), row["site"]) for row in rows}
    assert short - set(SHORT) == set(), "short, and nobody has said why"
    assert set(SHORT) & seen - short == set(), "short no longer: take it off the table"
