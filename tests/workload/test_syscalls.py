from pathlib import Path

import pytest

from finegrain.workload.syscalls import CALLS, FILE_CALLS, NAMED, event_filter

TABLE = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


@pytest.mark.skipif(not TABLE.exists(), reason="this machine has no table of system calls")
def test_numbers_are_the_kernel_s():
    words = (line.split() for line in TABLE.read_text().splitlines())
    numbers = {
        int(line[2]): line[1].removeprefix("__NR_")
        for line in words
        if len(line) == 3 and line[2].isdecimal()
    }
    vectors = {
        "readv": "read",
        "writev": "write",
        "pread64": "pread",
        "pwrite64": "pwrite",
        "getdents64": "getdents",
    }
    copies = {"dup2": "dup", "dup3": "dup", "pipe2": "pipe"}
    for call in CALLS.values():
        name = numbers.get(call.number)
        if name is None:  # newer than this table
            continue
        known = {(vectors | copies).get(name, name), "enter", "wait", "make", ""}
        assert {call.enter.removeprefix("enter_"), call.exit.removeprefix("exit_")} <= known


def test_what_is_named_fits_into_a_record():
    for call in NAMED.values():
        for directory, name in call.names:
            assert name < len(call.args) <= 5
            assert directory is None or directory < len(call.args)
    assert FILE_CALLS["renameat2"].names == ((0, 1), (2, 3))


def test_filters_are_short_enough_for_the_kernel():
    assert max(len(event_filter(entries)) for entries in (True, False)) < 4096
