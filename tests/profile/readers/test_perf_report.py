from read_sample import read


def test_perf_reports_bad_events() -> None:
    text = " Name acquired contended avg wait\n\n a lock 3 2 1.50 us\n\n=== output for debug===\n\nbad: 7, total: 9\n"
    file = read(text)
    assert file.profiles[0].table.select("lock", "count", "wait_us").rows() == [("a lock", 3, 3.0)]
    assert any("7 bad" in note for note in file.notes["perf lock report"])
