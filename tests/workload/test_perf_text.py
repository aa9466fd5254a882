import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.workload import perf_text
from finegrain.workload.perf_text import parse
from finegrain.workload.syscalls import CALLS, event_filter

FILES = [call for call in CALLS.values() if call.args == (0, 1, 2, 3, 4)]

# one line of each kind, as perf 6.1 prints them, and what is read from it
LINES = [
    (
        "  21/22    10.000000001:   exceptions:page_fault_user: address=0x7f10 ip=0x7f5951d23e error_code=0x16",
        (10_000_000_001, 21, 22, "fault_user", 0x7F10, 0x16),
    ),
    (
        "  21/21    10.000000002: exceptions:page_fault_kernel: address=0x55aa ip=elf_load error_code=0x2",
        (10_000_000_002, 21, 21, "fault_kernel", 0x55AA, 2),
    ),
    ("  21/21  1432.015107842: page-faults:     55fe2c5d8128", (1_432_015_107_842, 21, 21, "fault", 0x55FE2C5D8128)),
    ("  21/21    10.000000003:   page-faults:u:     7ff0", (10_000_000_003, 21, 21, "fault", 0x7FF0)),
    (
        "4528/4528   998.612527160: PERF_RECORD_MMAP2 4528/4528: [0x5641b299b000(0x7000) @ 0 fe:00 260857 0]:"
        " r--p /usr/bin/a name]: with spaces",
        (
            998_612_527_160, 4528, 4528, "map", 0x5641B299B000, 0x7000, 0, None, None,
            "r--p /usr/bin/a name]: with spaces",
        ),
    ),
    (
        "4528/4528   998.612527161: PERF_RECORD_MMAP2 4528/4528: [0x7f(0x2) @ 0x1000 fe:00 1 0]: rw-s //anon",
        (998_612_527_161, 4528, 4528, "map", 0x7F, 2, 0x1000, None, None, "rw-s //anon"),
    ),
    (
        "1/1   1.000000000:      raw_syscalls:sys_enter: NR 9 (7fef59348000, 156000, 5, 812, 3, 26000)",
        (1_000_000_000, 1, 1, "enter_mmap", 0x7FEF59348000, 0x156000, 5, 0x812, 0x26000),
    ),
    ("1/1   1.000000001:       raw_syscalls:sys_exit: NR 9 = 140667", (1_000_000_001, 1, 1, "exit_mmap", 140667)),
    (
        "1/1   1.000000002:    raw_syscalls:sys_enter: NR 11 (7ffff7fb7000, 86f3, 1, 2, 3, 0)",
        (1_000_000_002, 1, 1, "munmap", 0x7FFFF7FB7000, 0x86F3),
    ),
    (
        "1/1   1.000000003:  raw_syscalls:sys_enter: NR 10 (7ff000, 2000, 1, 0, 0, 0)",
        (1_000_000_003, 1, 1, "mprotect", 0x7FF000, 0x2000, 1),
    ),
    ("1/1   1.000000004: raw_syscalls:sys_enter: NR 12 (555, 0, 0, 0, 0, 0)", (1_000_000_004, 1, 1, "enter_brk")),
    ("1/1   1.000000005:  raw_syscalls:sys_exit: NR 12 = 5509120", (1_000_000_005, 1, 1, "exit_brk", 0x541000)),
    (
        "1/1   1.000000006: raw_syscalls:sys_enter: NR 25 (7000, 2000, 3000, 1, 0, 0)",
        (1_000_000_006, 1, 1, "enter_mremap", 0x7000, 0x2000, 0x3000),
    ),
    ("1/1   1.000000007:   raw_syscalls:sys_exit: NR 25 = 36864", (1_000_000_007, 1, 1, "exit_mremap", 0x9000)),
    ("1/1   1.000000008:   raw_syscalls:sys_exit: NR 61 = -10", (1_000_000_008, 1, 1, "wait", (1 << 64) - 10)),
    (
        "1/1   1.000000018: raw_syscalls:sys_enter: NR 109 (1e, 0, 5, 5, 5, 5)",
        (1_000_000_018, 1, 1, "setpgid", 30, 0),
    ),
    ("1/1   1.000000019: raw_syscalls:sys_enter: NR 112 (0, 0, 0, 0, 0, 0)", (1_000_000_019, 1, 1, "setsid")),
    (
        "1/1   1.000000020: raw_syscalls:sys_enter: NR 62 (ffffffe2, f, 0, 0, 0, 0)",
        (1_000_000_020, 1, 1, "kill", 0xFFFFFFE2, 15),
    ),
    ("1/1   1.000000009: raw_syscalls:sys_enter: NR 231 (0, 3c, e7, 0, 0, 0)", (1_000_000_009, 1, 1, "enter")),
    ("1/1   1.000000021: raw_syscalls:sys_exit: NR 41 = 5", (1_000_000_021, 1, 1, "exit_make", 5)),
    (
        "1/1   1.000000022: finegrain_12_345:one: (7f10) p0=0x7fb7 n0=\"/a b\"c \"",
        (1_000_000_022, 1, 1, "name", 0x7FB7, None, None, None, None, '/a b"c '),
    ),
    ("1/1   1.000000010: PERF_RECORD_FORK(30:31):(28:29)", (1_000_000_010, 28, 29, "fork", 30, 31)),
    ("1/1   1.000000011: PERF_RECORD_EXIT(30:31):(28:29)", (1_000_000_011, 30, 31, "exit")),
    ("30/30   1.000000012: PERF_RECORD_COMM exec: gcc:30/30", (1_000_000_012, 30, 30, "exec")),
    (
        "1/1   1.000000013:            task:task_newtask: pid=30 comm=a b clone_flags=4100 oom_score_adj=0",
        (1_000_000_013, 1, 1, "newtask", 30, 0x4100),
    ),
    ("1/1   1.000000014: PERF_RECORD_SWITCH OUT        ", (1_000_000_014, 1, 1, "out")),
    ("1/1   1.000000015: PERF_RECORD_SWITCH OUT preempt", (1_000_000_015, 1, 1, "preempted")),
    ("1/1   1.000000016: PERF_RECORD_SWITCH IN         ", (1_000_000_016, 1, 1, "in")),
    ("1/1   1.000000017: PERF_RECORD_LOST lost 12", (1_000_000_017, 1, 1, "lost", 12)),
]  # fmt: skip
# each file call's entry has its arguments as they are, and its exit what it returned
LINES += [
    (
        f"8/9   2.{call.number:09}: raw_syscalls:sys_enter: NR {call.number} (ffffff9c, a1, b2, c3, d4, e5)",
        (2_000_000_000 + call.number, 8, 9, call.enter, 0xFFFFFF9C, 0xA1, 0xB2, 0xC3, 0xD4),
    )
    for call in FILES
] + [
    (
        f"8/9   2.{call.number:09}: raw_syscalls:sys_exit: NR {call.number} = -2",
        (2_000_000_000 + call.number, 8, 9, call.exit, (1 << 64) - 2),
    )
    for call in FILES
]
NOT_OURS = [
    "    0/0         0.000000000: PERF_RECORD_MMAP -1/0: [0xffffffff81000000(0x1206448) @ 0x0]: x [kernel]_text",
    "    0/0         0.000000000: PERF_RECORD_COMM: perf-exec:13864/13864",
    "1/1   1.000000000: PERF_RECORD_COMM: renamed:1/1",
    "1/1   1.000000000: some:other_event: with=text",
    "1/1   1.000000000: raw_syscalls:sys_enter: NR 39 (0, 0, 0, 0, 0, 0)",
    "1/1   1.000000000: raw_syscalls:sys_exit: NR 3 = 0",
    "1/1   1.000000000: raw_syscalls:sys_exit: NR -1 = 0",
    '1/1   1.000000000: other_12_345:one: (7f10) p0=0x7fb7 n0="/a"',
    "'trace' not valid for hardware events. Ignoring.",
    "",
]


def read(text):
    return parse(io.BytesIO(text.encode()))


def full(expected):
    return (*expected, *[None] * (len(perf_text.RAW_SCHEMA) - len(expected)))


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[expected[3] for _, expected in LINES])
def test_each_kind_of_line(line, expected):
    assert read(line + "\n").rows() == [full(expected)]


def test_other_lines_are_passed_over():
    assert len(read("\n".join(NOT_OURS))) == 0


def test_no_text_gives_an_empty_table():
    table = read("")
    assert len(table) == 0
    assert dict(table.schema) == perf_text.RAW_SCHEMA


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(range(len(LINES))), min_size=1, max_size=40), st.integers(1, 3000))
def test_order_is_kept_whatever_pieces_the_text_is_read_in(order, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perf_text, "CHUNK_BYTES", chunk)
        table = read("\n".join(LINES[i][0] for i in order))
    assert table.rows() == [full(LINES[i][1]) for i in order]


def test_a_call_of_two_names_gives_both():
    line = '1/1   1.000000022: finegrain_12_345:two: (7f10) p0=0x1f p1=0x2f n0="a" n1="b c"'
    assert read(line)["what", "a", "name"].rows() == [("name", 0x1F, "a"), ("name", 0x2F, "b c")]


def test_a_name_with_a_line_end_is_not_known():
    table = read('1/1   1.000000022: finegrain_12_345:one: (7f10) p0=0x1f n0="a\nb"\n')
    assert table["what", "a", "name"].rows() == [("name", None, None)]


def test_what_is_recorded_is_what_is_read():
    for entries in (True, False):
        numbers = {int(word.removeprefix("id==")) for word in event_filter(entries).split("||")}
        assert numbers == {n for n, call in CALLS.items() if (call.enter if entries else call.exit)}


def test_bytes_that_are_not_utf8_do_no_harm():
    line = b"5/5 1.000000000: PERF_RECORD_MMAP2 5/5: [0x1000(0x1000) @ 0 0:0 0 0]: r--p /tmp/\xff\xfe\n"
    assert parse(io.BytesIO(line))["name"].to_list() == ["r--p /tmp/��"]
    assert parse(io.BytesIO(line)).select(pl.len()).item() == 1
