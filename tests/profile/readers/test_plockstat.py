from read_sample import read, rows

HEADING = "Count     nsec Lock                         Caller\n" + "-" * 79 + "\n"
ROW = "  139   108294 libc.so.1`libc_malloc_lock   a.out`main+0x10\n"


def test_blocks_are_waits_and_holds_are_holds() -> None:
    text = f"Mutex block\n\n{HEADING}{ROW}\nR/W reader hold\n\n{HEADING}{ROW}"
    assert rows(text, "lock_class", "mode", "contended", "wait_us", "count", "hold_us") == [
        ("mutex", None, 139, 15052.866, None, None),
        ("rw", "read", None, None, 139, 15052.866),
    ]


def test_a_row_that_was_cut_does_not_take_the_row_below() -> None:
    for cut in ("  2   3000", "  2   3000 lib`lock"):
        file = read(f"Mutex block\n\n{HEADING}{cut}\n{ROW}")
        assert file.profiles[0].table["contended"].to_list() == [139]
        assert [(skip.first, skip.why) for skip in file.skipped] == [(5, "row cut short")]


def test_a_section_again_is_another_run() -> None:
    text = f"Mutex block\n\n{HEADING}{ROW}"
    assert [p.table.height for p in read(text + text).profiles] == [1, 1]
    assert [p.table.height for p in read(text + ROW).profiles] == [1]
    assert [p.table.height for p in read(text + "after\n" + text.replace("block", "spin")).profiles] == [1, 1]
