from finegrain.profile.group import grouped
from read_sample import read, rows

HEADING = """Elapsed time: 2.50 seconds.

-- Adaptive mutex spin

Total%  Count   Time/ms          Lock                     Caller
------ ------- --------- ---------------------- ------------------------------
"""
ROWS = """ 70.00     300     12.34 proc_lock              <all>
 50.00     200     10.00 proc_lock              fork1+0x1a4
 20.00     100      2.34 proc_lock              exit1+0x55
 30.00      20      5.25 0xdeadbeef12           uvm_fault_internal+0x8
"""


def test_a_lock_s_total_and_its_callers_are_not_added_up() -> None:
    (profile,) = read(HEADING + ROWS).profiles
    assert profile.span_s == 2.5
    assert profile.table.select("role", "lock", "site", "contended", "wait_us").rows() == [
        ("lock", "proc_lock", None, 300, 12340.0),
        ("waiter", "proc_lock", "fork1+0x1a4", 200, 10000.0),
        ("waiter", "proc_lock", "exit1+0x55", 100, 2340.0),
        ("site", "0xdeadbeef12", "uvm_fault_internal+0x8", 20, 5250.0),
    ]
    assert profile.table["lock_class"].unique().to_list() == ["adaptive mutex"]
    for by in ("lock", "class"):
        assert grouped(profile, by).table["wait_us"].sum() == 17590.0
    assert grouped(profile, "site").table["wait_us"].sum() == 17590.0


def test_every_lock_in_one_and_what_is_no_lock() -> None:
    text = HEADING + " 99.00 5 1.00 <all> fork1+0x1a4\n-- RW lock sleep (reader)\n\n 99.00 5 1.00 a f+0x1\n"
    text += "-- Preemption defer\n\n 99.00 5 1.00 a f+0x1\n"
    assert rows(text, "lock", "site", "mode", "lock_class", "role") == [
        (None, "fork1+0x1a4", None, "adaptive mutex", "site"),
        ("a", "f+0x1", "read", "rw", "site"),
        ("a", "f+0x1", None, None, "sample"),
    ]


def test_a_row_that_was_cut_does_not_take_the_row_below() -> None:
    for cut in (" 70.00     300", " 70.00     300     12.34", " 70.00     300     12.34 proc_lock"):
        file = read(f"{HEADING}{cut}\n 30.00      20      5.25 a f+0x8\n")
        assert file.profiles[0].table.select("lock", "contended").rows() == [("a", 20)]
        assert [(skip.first, skip.why) for skip in file.skipped] == [(7, "row cut short")]


def test_an_event_again_is_another_dump_and_a_copied_line_is_read_once() -> None:
    again = HEADING.removeprefix("Elapsed time: 2.50 seconds.\n")
    assert [p.table.height for p in read(HEADING + ROWS + again + ROWS).profiles] == [4, 4]
    assert [p.table.height for p in read(HEADING + ROWS + ROWS.splitlines()[-1]).profiles] == [4]


def test_averages_are_no_totals() -> None:
    row = " 99.00 5 1.00 a f+0x1\n"
    seconds = HEADING.replace("seconds.", "seconds. Displaying per-second averages.")
    assert rows(seconds + row, "contended", "averaged_count", "wait_us") == [(None, 5, 2500.0)]
    assert any("per-second averages" in note for note in read(seconds + row).notes["NetBSD lockstat"])
    cpus = HEADING.replace("seconds.", "seconds. Displaying per-CPU per-second averages.")
    assert rows(cpus + row, "contended", "averaged_us", "wait_us") == [(None, 1000.0, None)]
