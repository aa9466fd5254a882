import pytest

from read_sample import read


def test_perf_reports_bad_events() -> None:
    text = " Name acquired contended avg wait\n\n a lock 3 2 1.50 us\n\n=== output for debug===\n\nbad: 7, total: 9\n"
    file = read(text)
    assert file.profiles[0].table.select("lock", "count", "wait_us").rows() == [("a lock", 3, 3.0)]
    assert any("7 bad" in note for note in file.notes["perf lock report"])


@pytest.mark.parametrize("cut", ["a lock 3 2", "a lock 3 2 1.50 us", "lock 3 2 1.50"])
def test_perf_report_a_row_that_was_cut_does_not_take_the_row_below(cut: str) -> None:
    file = read(f" Name acquired contended avg wait max wait\n\n {cut}\n b lock 5 4 1.50 us 2.50 us\n")
    assert file.profiles[0].table.select("lock", "count", "wait_us").rows() == [("b lock", 5, 6.0)]
    assert [(skip.first, skip.why) for skip in file.skipped] == [(3, "row cut short")]
