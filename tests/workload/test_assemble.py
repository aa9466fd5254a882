import polars as pl

from finegrain.workload import recording as rec
from finegrain.workload.assemble import assemble
from finegrain.workload.perf_text import RAW_SCHEMA

RW = rec.PROT_READ | rec.PROT_WRITE
BAD = (1 << 64) - 12  # what a failed call returns


def raw(*rows):
    """Raw records from (what, pid) and columns; a record every 1000 ns."""
    made = [
        {"time": 5_000_000 + 1000 * i, "tid": columns.pop("tid", pid), "what": what, "pid": pid, **columns}
        for i, (what, pid, columns) in enumerate(rows)
    ]
    return pl.DataFrame(
        [{name: row.get(name) for name in RAW_SCHEMA} for row in made], schema=RAW_SCHEMA, orient="row"
    )


def rows(assembled, *columns):
    return assembled.events.select("kind", *columns).rows()


def test_an_mmap_call_becomes_one_map_at_its_entry():
    made = assemble(
        raw(
            ("exec", 7, {}),
            ("fault_user", 7, {"a": 0x5123, "b": 4}),
            ("enter_mmap", 7, {"a": 0, "b": 0x2001, "c": 5, "d": 2, "e": 0x3000}),
            (
                "map",
                7,
                {"a": 0x10000, "b": 0x8000, "c": 0x1000, "name": "r-xp /lib/a.so"},
            ),  # merged by the kernel
            ("exit_mmap", 7, {"a": 0x16000}),
        )
    )
    assert made.files == ["/lib/a.so"]
    assert rows(made, "time", "page", "pages", "offset", "info", "file")[-1] == (
        rec.MAP, 2000, 0x16, 3, 3, 5, 1,
    )  # fmt: skip
    assert len(made.events) == 3


def test_anonymous_and_shared_mmap():
    made = assemble(
        raw(
            ("enter_mmap", 7, {"a": 0, "b": 0x1000, "c": 3, "d": 0x22, "e": 0}),
            ("map", 7, {"a": 0x10000, "b": 0x1000, "c": 0x10000, "name": "rw-p //anon"}),
            ("exit_mmap", 7, {"a": 0x10000}),
            ("enter_mmap", 7, {"a": 0, "b": 0x1000, "c": 3, "d": 0x21, "e": 0}),
            ("exit_mmap", 7, {"a": 0x20000}),
        )
    )
    assert rows(made, "page", "offset", "info", "file") == [
        (rec.MAP, 0x10, 0, RW, 0), (rec.MAP, 0x20, 0, RW | rec.MAP_SHARED, 0),
    ]  # fmt: skip


def test_calls_that_fail_leave_nothing():
    made = assemble(
        raw(
            ("enter_mmap", 7, {"a": 0, "b": 0x1000, "c": 3, "d": 0x22, "e": 0}),
            ("exit_mmap", 7, {"a": BAD}),
            ("enter_mremap", 7, {"a": 0x1000, "b": 0x1000, "c": 0x2000}),
            ("exit_mremap", 7, {"a": BAD}),
            ("wait", 7, {"a": (1 << 64) - 10}),
            ("fault_user", 7, {"a": 0x1000, "b": 4}),
        )
    )
    assert [kind for (kind,) in rows(made)] == [rec.FAULT]


def test_calls_of_two_threads_do_not_mix():
    made = assemble(
        raw(
            ("enter_mmap", 7, {"a": 0, "b": 0x1000, "c": 1, "d": 2, "e": 0}),
            ("enter_mmap", 7, {"tid": 8, "a": 0, "b": 0x5000, "c": 3, "d": 2, "e": 0x1000}),
            ("map", 7, {"tid": 8, "a": 0x50000, "b": 0x5000, "c": 0x1000, "name": "rw-p /b"}),
            ("map", 7, {"a": 0x10000, "b": 0x1000, "c": 0, "name": "r--p /a"}),
            ("exit_mmap", 7, {"a": 0x10000}),
            ("exit_mmap", 7, {"tid": 8, "a": 0x50000}),
        )
    )
    assert made.files == ["/a", "/b"]
    assert rows(made, "thread", "page", "pages", "file") == [
        (rec.MAP, 0, 0x10, 1, 1),
        (rec.MAP, 1, 0x50, 5, 2),
    ]


def test_mapping_records_of_exec_and_those_that_calls_account_for():
    made = assemble(
        raw(
            ("exec", 7, {}),
            ("map", 7, {"a": 0x7000, "b": 0x2000, "c": 9, "name": "rw-p [stack]"}),
            ("map", 7, {"a": 0x1000, "b": 0x1000, "c": 0x4000, "name": "r-xp /bin/sh"}),
            ("fault_kernel", 7, {"a": 0x1000, "b": 2}),
            ("map", 7, {"a": 0x3000, "b": 0x1000, "c": 0, "name": "r-xp [vdso]"}),
            ("fault_user", 7, {"a": 0x1000, "b": 0x14}),
            ("mprotect", 7, {"a": 0x1000, "b": 0x1000, "c": 1}),
            ("map", 7, {"a": 0x1000, "b": 0x1000, "c": 0x4000, "name": "r--p /bin/sh"}),
            ("enter_brk", 7, {}),
            ("map", 7, {"a": 0x8000, "b": 0x1000, "c": 0x8000, "name": "rw-p //anon"}),
            ("exit_brk", 7, {"a": 0x8800}),
        )
    )
    assert rows(made, "page", "offset", "info", "file") == [
        (rec.EXEC, 0, 0, 0, 0),
        (rec.MAP, 7, 0, RW | rec.MAP_STACK | rec.MAP_EXEC, 0),
        (rec.MAP, 1, 4, 5 | rec.MAP_EXEC, 1),
        (rec.FAULT, 1, 0, rec.FAULT_WRITE | rec.FAULT_IN_KERNEL, 0),
        (rec.MAP, 3, 0, 5, 2),  # exec is over
        (rec.FAULT, 1, 0, rec.FAULT_EXEC, 0),
        (rec.PROTECT, 1, 0, 1, 0),
        (rec.BREAK, 9, 0, 0, 0),
    ]


def test_in_software_kind_exec_ends_with_the_vdso():
    made = assemble(
        raw(
            ("exec", 7, {}),
            ("map", 7, {"a": 0x1000, "b": 0x1000, "c": 0, "name": "r-xp /bin/sh"}),
            ("fault", 7, {"a": 0x1000}),
            ("map", 7, {"a": 0x3000, "b": 0x1000, "c": 0, "name": "r-xp [vdso]"}),
            ("fault", 7, {"a": 0x1000}),
            ("map", 7, {"a": 0x9000, "b": 0x1000, "c": 0, "name": "r--p /lib/a.so"}),
        )
    )
    maps = made.events.filter(pl.col("kind") == rec.MAP)
    assert [bool(info & rec.MAP_EXEC) for info in maps["info"]] == [True, False, False]
    assert made.events["info"].to_list().count(rec.FAULT_UNKNOWN) == 2


def test_addresses_of_the_kernel_are_left_out():
    made = assemble(raw(("exec", 7, {}), ("fault_kernel", 7, {"a": (1 << 64) - 0x1000, "b": 0})))
    assert [kind for (kind,) in rows(made)] == [rec.EXEC]


def test_processes_are_numbered_as_they_are_made_and_pids_come_again():
    made = assemble(
        raw(
            ("exec", 50, {}),
            ("fork", 50, {"a": 60, "b": 60}),
            ("newtask", 50, {"a": 60, "b": 0x4100}),
            ("exec", 60, {}),
            ("exit", 60, {}),
            ("wait", 50, {"a": 60}),
            ("fork", 50, {"a": 10, "b": 10}),
            ("newtask", 50, {"a": 10, "b": 0x11}),
            ("exit", 10, {}),
            ("fork", 50, {"a": 60, "b": 60}),
            ("exit", 60, {}),
            ("wait", 50, {"a": 60}),
            ("exit", 50, {}),
        )
    )
    assert made.processes == 4
    assert rows(made, "process", "info", "pages") == [
        (rec.EXEC, 0, 0, 0), (rec.FORK, 0, 1, 1), (rec.WAIT, 0, 1, 0), (rec.FORK, 0, 2, 0),
        (rec.FORK, 0, 3, 0), (rec.WAIT, 0, 3, 0), (rec.EXIT, 0, 0, 0),
        (rec.EXEC, 1, 0, 0), (rec.EXIT, 1, 0, 0), (rec.EXIT, 2, 0, 0), (rec.EXIT, 3, 0, 0),
    ]  # fmt: skip


def test_threads_have_numbers_within_their_process():
    made = assemble(
        raw(
            ("exec", 50, {}),
            ("fork", 50, {"a": 50, "b": 51}),
            ("newtask", 50, {"a": 51, "b": 0x3D0F00}),
            ("fault_user", 50, {"tid": 51, "a": 0x1000, "b": 6}),
            ("exit", 50, {"tid": 51}),
            ("fault_user", 50, {"a": 0x2000, "b": 6}),
            ("exit", 50, {}),
        )
    )
    assert made.processes == 1
    assert rows(made, "thread", "info", "offset") == [
        (rec.EXEC, 0, 0, 0), (rec.THREAD, 0, 1, 0x3D0F00), (rec.FAULT, 1, rec.FAULT_WRITE, 0),
        (rec.THREAD_EXIT, 1, 0, 0), (rec.FAULT, 0, rec.FAULT_WRITE, 0), (rec.EXIT, 0, 0, 0),
    ]  # fmt: skip


def test_switches_kernel_entries_moves_and_losses():
    made = assemble(
        raw(
            ("exec", 7, {}),
            ("out", 7, {}),
            ("in", 7, {}),
            ("preempted", 7, {}),
            ("in", 7, {}),
            ("enter", 7, {}),
            ("lost", 7, {"a": 12}),
            ("munmap", 7, {"a": 0x1000, "b": 1}),
            ("enter_mremap", 7, {"a": 0x4000, "b": 0x1000, "c": 0x3000}),
            ("exit_mremap", 7, {"a": 0x9000}),
        )
    )
    assert made.lost == 12
    assert made.duration_ns == 8000
    assert rows(made, "page", "pages", "offset", "info")[1:] == [
        (rec.OFF, 0, 0, 0, 0), (rec.ON, 0, 0, 0, 0), (rec.OFF, 0, 0, 0, 1), (rec.ON, 0, 0, 0, 0),
        (rec.KERNEL, 0, 0, 0, 0), (rec.UNMAP, 1, 1, 0, 0), (rec.MOVE, 9, 3, 4, 1),
    ]  # fmt: skip


def test_process_groups_and_those_who_signal_them():
    made = assemble(
        raw(
            ("exec", 50, {}),
            ("fork", 50, {"a": 60, "b": 60}),
            ("setpgid", 50, {"a": 60, "b": 0}),
            ("setpgid", 60, {"a": 0, "b": 0}),
            ("setpgid", 50, {"a": 0, "b": 60}),
            ("setpgid", 50, {"a": 99, "b": 0}),  # nobody we know
            ("setsid", 60, {}),
            ("kill", 50, {"a": (1 << 32) - 60, "b": 15}),
            ("kill", 50, {"a": (1 << 64) - 60, "b": 15}),
            ("kill", 50, {"a": 0, "b": 15}),
            ("kill", 50, {"a": 60, "b": 15}),  # one process, no group
            ("kill", 50, {"a": (1 << 64) - 1, "b": 15}),  # everybody
        )
    )
    assert [row for row in rows(made, "process", "info", "offset") if row[0] >= rec.SETPGID] == [
        (rec.SETPGID, 0, 1, 1), (rec.SETPGID, 0, 0, 1), (rec.KILLPG, 0, 1, 0), (rec.KILLPG, 0, 1, 0),
        (rec.KILLPG, 0, 0, 0), (rec.SETPGID, 1, 1, 1), (rec.SETSID, 1, 0, 0),
    ]  # fmt: skip


def test_nothing_gives_nothing():
    made = assemble(raw())
    assert len(made.events) == made.lost == made.duration_ns == 0
