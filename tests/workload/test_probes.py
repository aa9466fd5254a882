"""Probes are put where names are, and removed again."""

import os
import struct
import sys
from pathlib import Path

import pytest

from finegrain.workload import probes
from finegrain.workload.probes import name_probes, probed_files, sites

AT_FDCWD = b"\x48\x89\xfe\xbf\x9c\xff\xff\xff"  # mov %rdi,%rsi; mov $AT_FDCWD,%edi
SYSCALL = b"\x0f\x05"


def mov(number):
    return b"\xb8" + struct.pack("<I", number)


def elf(code, flags=5, interpreter=b""):
    """A 64-bit x86 ELF file whose one segment is `code`, at file offset 256."""
    segments = [(1, flags, 256, len(code))] + ([(3, 4, 200, len(interpreter))] if interpreter else [])
    table = b"".join(struct.pack("<IIQQQQQQ", kind, f, at, 0, 0, n, n, 4096) for kind, f, at, n in segments)
    head = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    )
    return (head + table).ljust(200, b"\0") + interpreter.ljust(56, b"\0") + code  # fmt: skip


def test_sites_are_before_system_calls_that_take_names():
    code = (
        b"\x90" * 3 + mov(257) + SYSCALL + mov(39) + SYSCALL + mov(21) + b"\x90" + SYSCALL + mov(82) + SYSCALL
    )
    assert sites(elf(code)) == [(256 + 3, 257), (256 + 3 + 7 + 7 + 8, 82)]
    assert sites(elf(code, flags=4)) == []


def test_where_the_registers_are_set_between_the_probe_comes_after():
    assert sites(elf(mov(257) + AT_FDCWD + SYSCALL)) == [(256 + 5 + 3, 257)]


@pytest.mark.parametrize("image", [b"", b"\x7fELF", b"#!/bin/sh\n" * 20, elf(mov(257) + SYSCALL)[:100]])
def test_what_is_no_program_has_no_sites(image):
    assert sites(image) == []


def test_static_programs_are_probed_themselves(tmp_path):
    program = tmp_path / "static"
    program.write_bytes(elf(mov(257) + SYSCALL))
    program.chmod(0o755)
    assert probed_files([str(program), "no-such-program"]) == [program]


def test_the_c_library_of_this_machine_has_sites():
    files = probed_files([sys.executable, "sh"])
    numbers = {number for path in files for _, number in sites(path.read_bytes())}
    if not files or os.uname().machine != "x86_64":
        pytest.skip("no C library to look at")
    assert {257, 262, 59} <= numbers


@pytest.fixture
def tracefs(tmp_path, monkeypatch):
    """A folder that does as tracefs does with probes, and the file of what is defined."""
    control = tmp_path / "uprobe_events"
    control.write_text("")

    def write(path, line):
        lines = path.read_text().splitlines()
        if line.startswith("-:"):
            if line == "-:finegrain_1_7/busy":
                raise OSError(16, "Device or resource busy")
            lines = [other for other in lines if not other.startswith(f"p:{line[2:]} ")]
        else:
            lines.append(line)
        path.write_text("".join(f"{line}\n" for line in lines))

    monkeypatch.setattr(probes, "_write", write)
    held = []
    monkeypatch.setattr(
        probes, "_hold", lambda control, event: held.append(event) or os.open("/dev/null", os.O_RDONLY)
    )
    monkeypatch.setattr(probes, "probed_files", lambda programs: [tmp_path / "libc"])
    (tmp_path / "libc").write_bytes(elf(mov(257) + SYSCALL + mov(82) + SYSCALL))
    return control


def groups(control):
    return sorted({line.split()[0] for line in control.read_text().splitlines()})


def test_probes_are_there_for_the_recording_and_gone_after(tracefs):
    with name_probes(["sh"], [tracefs.parent]) as made:
        assert made.why_not == ""
        assert [event.partition(":")[2] for event in made.events] == ["one", "two"]
        lines = tracefs.read_text().splitlines()
        libc = tracefs.parent / "libc"
        assert lines[0].split(maxsplit=1)[1] == f"{libc}:0x100 p0=%si:x64 n0=+0(%si):ustring"
        assert lines[1].split(maxsplit=1)[1] == (
            f"{libc}:0x107 p0=%di:x64 p1=%si:x64 n0=+0(%di):ustring n1=+0(%si):ustring"
        )
    assert groups(tracefs) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_probes_are_removed_whatever_ends_the_recording(tracefs, error):
    with pytest.raises(error), name_probes(["sh"], [tracefs.parent]):
        raise error
    assert groups(tracefs) == []


def test_probes_of_processes_that_are_gone_are_removed_and_others_left(tracefs):
    here = probes._started(os.getpid())
    start = probes._started(1)
    others = [
        f"p:finegrain_{2**22}_5/one /lib/c:0x1 p0=%di:x64",  # no such process
        "p:finegrain_1_0/one /lib/c:0x1 p0=%di:x64",  # its number is another process's now
        f"p:finegrain_1_{start}/one /lib/c:0x1 p0=%di:x64",  # another recording
        "p:finegrain_1_7/busy /lib/c:0x1 p0=%di:x64",  # somebody records with it
        "p:mine/one /lib/c:0x1",
    ]
    tracefs.write_text("".join(f"{line}\n" for line in others))
    kept = sorted(line.split()[0] for line in others[2:])
    with name_probes(["sh"], [tracefs.parent]):
        assert groups(tracefs) == sorted(
            [*kept, *(f"p:finegrain_{os.getpid()}_{here}/{e}" for e in ("one", "two"))]
        )
    assert groups(tracefs) == kept


def test_where_probes_are_refused_there_are_none_and_it_says_why(tracefs, monkeypatch):
    def refuse(control, line):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(probes, "_write", refuse)
    with name_probes(["sh"], [tracefs.parent]) as made:
        assert made.events == []
        assert "Permission denied" in made.why_not


def test_without_tracefs_there_are_none_and_it_says_why(tmp_path):
    with name_probes(["sh"], [tmp_path, Path("/nonexistent")]) as made:
        assert made.events == []
        assert "tracefs" in made.why_not
