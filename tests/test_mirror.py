"""Tests mirror the modules: src/finegrain/x/y.py has its tests in tests/x/test_y.py, or where ELSEWHERE says."""

from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parent / "src" / "finegrain"

# TO BE EMPTIED when kernel/ and machine/ are laid out anew.
NOT_YET = ("kernel", "machine")

ELSEWHERE = {
    "errors": "a class without anything to go wrong",
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
    "profile/test_fuzz",
    "profile/test_round_trip",
)


def modules() -> set[str]:
    """Every module but those that only name their package, by its path."""
    found = {
        path.relative_to(SOURCE).with_suffix("")
        for path in SOURCE.rglob("*.py*")
        if path.suffix in (".py", ".pyx")
    }
    return {str(path) for path in found if path.name != "__init__" and path.parts[0] not in NOT_YET}


def files_of_tests() -> set[str]:
    """Every file of tests, by its path."""
    found = {path.relative_to(HERE).with_suffix("") for path in HERE.rglob("test_*.py")}
    return {str(path) for path in found if path.parts[0] not in NOT_YET}


def mirrored(module: str) -> str:
    path = Path(module)
    return str(path.with_name(f"test_{path.name}"))


def test_every_module_has_its_tests_where_one_looks_for_them() -> None:
    assert {module for module in modules() if mirrored(module) not in files_of_tests()} == set(ELSEWHERE)


def test_every_file_of_tests_is_that_of_a_module() -> None:
    assert files_of_tests() - {mirrored(module) for module in modules()} == set(TOGETHER)
