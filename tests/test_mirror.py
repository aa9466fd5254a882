"""Tests mirror the modules: src/finegrain/x/y.py has its tests in tests/x/test_y.py, or where ELSEWHERE says."""

from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parent / "src" / "finegrain"

ELSEWHERE = {
    "errors": "a class without anything to go wrong",
    "kernel/locks/create": "tests/kernel/test_boot.py, which makes kernels as far up as their locks",
    "kernel/pmap/pt": "tests/kernel/pmap/test_model.py, which compares every entry and counts page tables",
    "kernel/vfs/state": "every test of files, which ends with its audit",
    "kernel/vfs/tmpfs_dir": "tests/kernel/vfs/test_model.py, and test_files.py: names read in pieces",
    "kernel/vfs/tmpfs_vnops": "tests/kernel/vfs/test_model.py, and test_files.py: who has which lock",
    "lab/run": "tests/lab/test_arguments.py and test_fuzz.py, and every test that uses a lab",
    "machine/errors": "a class without anything to go wrong",
    "machine/machine": "a handle without methods",
    "machine/panic": "tests/kernel/locks/test_mtx.py: what a panic names",
    "machine/simulated/spin": "tests/kernel/locks/test_mtx.py: when spinning begins and ends, and how it backs off",
    "profile/readers/base": "the tests of its readers, and tests/profile/test_round_trip.py",
    "report/terminal": "tests/report/test_table.py: the same table as text, and tests/report/test_result.py",
    "study/defaults": "constants",
    "workload/perf": "tests/cli/test_record.py, with stand-ins for perf and with perf",
    "workload/stored": "tests/study/test_experiment.py: every run maps a stored program",
}
# Tests of several modules together.
TOGETHER = (
    "test_contracts",
    "test_layers",
    "test_mirror",
    "test_init",
    "kernel/locks/test_battery",
    "kernel/locks/test_random",
    "kernel/pmap/test_model",
    "kernel/pmap/test_threads",
    "kernel/vfs/test_model",
    "kernel/vfs/test_threads",
    "kernel/vm/test_model",
    "lab/test_arguments",
    "lab/test_docs",
    "lab/test_fuzz",
    "machine/test_closed_forms",
    "machine/test_threads_locks",
    "profile/test_defects",
    "profile/test_fuzz",
    "profile/test_round_trip",
    "replay/test_superpages",
)


def modules() -> set[str]:
    """Every module but those that only name their package, by its path."""
    found = {
        path.relative_to(SOURCE).with_suffix("")
        for path in SOURCE.rglob("*.py*")
        if path.suffix in (".py", ".pyx")
    }
    return {str(path) for path in found if path.name != "__init__"}


def headers() -> set[str]:
    """Modules that are all in their .pxd: inline functions, structs."""
    return {str(path.relative_to(SOURCE).with_suffix("")) for path in SOURCE.rglob("*.pxd")}


def files_of_tests() -> set[str]:
    """Every file of tests, by its path."""
    found = {path.relative_to(HERE).with_suffix("") for path in HERE.rglob("test_*.py")}
    return {str(path) for path in found}


def mirrored(module: str) -> str:
    path = Path(module)
    return str(path.with_name(f"test_{path.name}"))


def test_every_module_has_its_tests_where_one_looks_for_them() -> None:
    assert {module for module in modules() if mirrored(module) not in files_of_tests()} == set(ELSEWHERE)


def test_every_file_of_tests_is_that_of_a_module() -> None:
    assert files_of_tests() - {mirrored(module) for module in modules() | headers()} == set(TOGETHER)
