from hypothesis import given, settings
from hypothesis import strategies as st

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program

PAGE = pr.PAGE_BYTES
RW = rec.PROT_READ | rec.PROT_WRITE
FILES = ["/bin/sh", "/lib/libc.so", "[vdso]"]
TOP = 100_000  # the stack of `begin` ends here


def row(time, kind, process=0, **columns):
    return {"time": time * 1000, "kind": kind, "process": process, **columns}


def begin(process=0, time=0):
    """An exec with a program of 10 pages, 4 of them writable, and a stack of 3."""
    return [
        row(time, rec.EXEC, process),
        row(time, rec.MAP, process, page=TOP - 3, pages=3, info=RW | rec.MAP_STACK | rec.MAP_EXEC),
        row(time, rec.MAP, process, page=100, pages=6, info=5 | rec.MAP_EXEC, file=1),
        row(time, rec.MAP, process, page=106, pages=4, offset=6, info=RW | rec.MAP_EXEC, file=1),
    ]


def steps(program, process=0, *ops):
    """The steps of a process as (op name, arg0, arg1, arg2), addresses in pages; only `ops` if given."""
    first, last = program.first_step[process], program.first_step[process + 1]
    in_pages = {pr.TOUCH, pr.MMAP, pr.MUNMAP, pr.MPROTECT, pr.BRK}
    found = []
    for i in range(first, last):
        op, a, b, c = (int(x[i]) for x in (program.op, program.arg0, program.arg1, program.arg2))
        scale = PAGE if op in in_pages else 1
        if not ops or pr.OP_NAMES[op] in ops:
            found.append((pr.OP_NAMES[op], a // scale, b // scale, c))
    return found


def compiled(make_recording, model, rows, **more):
    program = compile_program(make_recording(rows, FILES, **more))
    model(program).check()
    return program


def test_exec_names_its_program_and_maps_its_segments(make_recording, model):
    program = compiled(make_recording, model, [*begin(), row(1, rec.EXIT)])
    assert [step[:3] for step in steps(program)] == [
        ("exec", 0, 0), ("mmap", TOP - 3, 3), ("mmap", 100, 6), ("mmap", 106, 4), ("exit", 0, 0),
    ]  # fmt: skip
    stack, text, data = (steps(program)[i][3] for i in (1, 2, 3))
    assert program.map_flags[stack] == pr.MAP_PRIVATE | pr.MAP_STACK | pr.MAP_EXEC
    assert (program.map_file[text], program.map_page[text], program.map_prot[text]) == (0, 0, 5)
    assert (program.map_file[data], program.map_page[data], program.map_prot[data]) == (0, 6, 3)
    assert program.file_pages.tolist() == [10, 0, 0]


def test_exec_maps_do_not_overlap_the_next_segment(make_recording, model):
    rows = [
        row(0, rec.EXEC),
        row(0, rec.MAP, page=100, pages=20, info=1 | rec.MAP_EXEC, file=1),
        row(0, rec.MAP, page=104, pages=16, offset=4, info=5 | rec.MAP_EXEC, file=1),
        row(0, rec.MAP, page=112, pages=3, offset=12, info=RW | rec.MAP_EXEC, file=1),
    ]
    maps = steps(compiled(make_recording, model, rows), 0, "mmap")
    assert [step[:3] for step in maps] == [("mmap", 100, 4), ("mmap", 104, 8), ("mmap", 112, 3)]


def test_each_kind_of_touch(make_recording, model):
    bits = [0, rec.FAULT_WRITE | rec.FAULT_PRESENT, rec.FAULT_EXEC, rec.FAULT_WRITE | rec.FAULT_IN_KERNEL]
    rows = [
        row(i + 1, rec.FAULT, page=p, info=b)
        for i, (p, b) in enumerate(zip((100, 106, 101, 107), bits, strict=True))
    ]
    program = compiled(make_recording, model, [*begin(), *rows])
    assert steps(program, 0, "touch") == [
        ("touch", 100, 0, 0), ("touch", 106, 0, pr.TOUCH_WRITE),
        ("touch", 101, 0, pr.TOUCH_EXEC), ("touch", 107, 0, pr.TOUCH_WRITE),
    ]  # fmt: skip
    assert "mappings" not in program.inferred


def test_a_stack_is_mapped_as_far_down_as_it_grows(make_recording, model):
    rows = [row(1, rec.FAULT, page=TOP - 40, info=1), row(2, rec.FAULT, page=TOP - 1, info=1)]
    program = compiled(make_recording, model, [*begin(), *rows])
    assert steps(program, 0, "mmap")[0][:3] == ("mmap", TOP - 40, 40)


def test_a_region_is_inferred_once_around_near_touches(make_recording, model):
    rows = [row(i, rec.FAULT, page=p, info=1) for i, p in enumerate((300, 310, 295, 500), 1)]
    program = compiled(make_recording, model, [*begin(), *rows])
    assert [step[:3] for step in steps(program)[4:]] == [
        ("mmap", 295, 16), ("touch", 300, 0), ("touch", 310, 0), ("touch", 295, 0),
        ("mmap", 500, 1), ("touch", 500, 0), ("exit", 0, 0),
    ]  # fmt: skip
    assert program.inferred["mappings"] == 2


def test_what_is_inferred_ends_where_something_is_mapped(make_recording, model):
    rows = [row(1, rec.FAULT, page=98, info=1), row(2, rec.FAULT, page=111, info=1)]
    program = compiled(make_recording, model, [*begin(), *rows])
    assert [step[:3] for step in steps(program, 0, "mmap")[3:]] == [("mmap", 98, 1), ("mmap", 111, 1)]


def test_the_vdso_is_left_out(make_recording, model):
    rows = [
        row(1, rec.MAP, page=50, pages=2, info=5 | rec.MAP_EXEC, file=3),
        row(2, rec.FAULT, page=50),
        row(2, rec.FAULT, page=51),
        row(3, rec.FAULT, page=100),
    ]
    program = compiled(make_recording, model, [*begin(), *rows])
    assert len(steps(program, 0, "mmap")) == 3
    assert steps(program, 0, "touch") == [("touch", 100, 0, 0)]


def test_the_heap_has_its_old_end_and_can_shrink(make_recording, model):
    ends = (200, 200, 210, 205)
    rows = [row(i + 1, rec.BREAK, page=page) for i, page in enumerate(ends)]
    rows += [row(9, rec.FAULT, page=204, info=1), row(10, rec.FAULT, page=207, info=1)]
    program = compiled(make_recording, model, [*begin(), *rows])
    assert [step[:3] for step in steps(program, 0, "brk")] == [
        ("brk", 200, 200), ("brk", 210, 200), ("brk", 205, 210),
    ]  # fmt: skip
    assert program.inferred["mappings"] == 1  # page 207 is beyond the end


def test_mremap_in_place_and_away(make_recording, model):
    rows = [
        row(1, rec.MAP, page=300, pages=4, info=RW),
        row(2, rec.MOVE, page=300, pages=6, offset=300, info=4),
        row(3, rec.MOVE, page=400, pages=8, offset=300, info=6),
        row(4, rec.FAULT, page=407, info=1),
        row(5, rec.MOVE, page=400, pages=2, offset=400, info=8),
    ]
    program = compiled(make_recording, model, [*begin(), *rows])
    assert [step[:3] for step in steps(program)[4:]] == [
        ("mmap", 300, 4), ("mmap", 304, 2), ("mmap", 400, 8), ("munmap", 300, 6), ("touch", 407, 0),
        ("munmap", 402, 6), ("exit", 0, 0),
    ]  # fmt: skip


def test_a_fork_gives_the_child_its_parents_mappings(make_recording, model):
    rows = [
        *begin(),
        row(1, rec.FORK, info=1),
        row(3, rec.UNMAP, page=106, pages=4),
        row(4, rec.FAULT, 1, page=106, info=7),
        row(5, rec.EXIT, 1),
        row(6, rec.WAIT, info=1),
        row(7, rec.EXIT),
    ]
    program = compiled(make_recording, model, rows)
    assert steps(program, 1) == [("touch", 106, 0, pr.TOUCH_WRITE), ("exit", 0, 0, 0)]
    assert [name for name, *_ in steps(program)[4:]] == ["fork", "munmap", "wait", "exit"]
    assert program.parent.tolist() == [-1, 0]
    assert program.start.tolist() == [0, 1000]
    assert program.end.tolist() == [7000, 5000]


def test_a_vfork_child_maps_nothing_before_it_execs(make_recording, model):
    rows = [
        *begin(),
        row(1, rec.FORK, info=1, pages=1),
        row(2, rec.MAP, 1, page=300, pages=1, info=RW),
        row(2, rec.UNMAP, 1, page=100, pages=1),
        row(2, rec.BREAK, 1, page=200),
        row(3, rec.FAULT, 1, page=300, info=1),
        row(4, rec.FAULT, 1, page=106, info=1),
        *begin(1, 5),
        row(6, rec.MAP, 1, page=300, pages=1, info=RW),
        row(9, rec.EXIT, 1),
    ]
    program = compiled(make_recording, model, rows)
    assert [name for name, *_ in steps(program)[4:]] == ["vfork", "exit"]
    assert [step[:2] for step in steps(program, 1)[:2]] == [("touch", 106), ("exec", 0)]
    assert steps(program, 1)[-2][:3] == ("mmap", 300, 1)


def test_a_mapping_over_another_is_marked_fixed(make_recording, model):
    rows = [row(1, rec.MAP, page=300, pages=9, info=1, file=2), row(2, rec.MAP, page=304, pages=2, info=RW)]
    program = compiled(make_recording, model, [*begin(), *rows])
    flags = [int(program.map_flags[step[3]]) for step in steps(program, 0, "mmap")[3:]]
    assert flags == [pr.MAP_PRIVATE, pr.MAP_PRIVATE | pr.MAP_FIXED]


def test_calls_that_change_nothing_give_no_step(make_recording, model):
    rows = [row(1, rec.UNMAP, page=300, pages=9), row(2, rec.PROTECT, page=300, pages=9, info=1)]
    program = compiled(make_recording, model, [*begin(), *rows])
    assert len(steps(program)) == 5


def test_a_touch_that_the_protection_forbids(make_recording, model):
    rows = [
        row(1, rec.FAULT, page=100, info=rec.FAULT_WRITE),  # the mapping may be executed, not written
        row(2, rec.PROTECT, page=106, pages=1, info=0),
        row(3, rec.FAULT, page=106, info=rec.FAULT_WRITE),  # nothing may be done there
    ]
    program = compiled(make_recording, model, [*begin(), *rows])
    assert steps(program, 0, "touch") == [("touch", 100, 0, pr.TOUCH_EXEC)]
    assert program.inferred["touches that the protection forbids"] == 2


def test_pauses_become_waits_and_sleeps(make_recording, model):
    rows = [
        *begin(),
        row(1, rec.FORK, info=1),
        row(2, rec.OFF),
        row(8, rec.ON),  # child 1 exited meanwhile
        row(9, rec.WAIT, info=1),
        row(10, rec.OFF),
        row(5000, rec.ON),  # nothing says why
        row(5001, rec.OFF, info=1),
        row(5002, rec.ON),  # preempted
        row(5003, rec.EXIT),
        row(7, rec.EXIT, 1),
    ]
    program = compiled(make_recording, model, rows)
    assert steps(program)[4:] == [
        ("fork", 1, 0, 0), ("wait", 1, 0, 0), ("sleep", 4990_000, 0, 0), ("exit", 0, 0, 0),
    ]  # fmt: skip
    assert program.time[[5, 6]].tolist() == [8000, 5000_000]


def test_process_groups(make_recording, model):
    rows = [
        *begin(),
        row(1, rec.FORK, info=1),
        row(2, rec.SETPGID, info=1, offset=1),
        row(3, rec.SETPGID, info=2, offset=1),  # not its child
        row(4, rec.KILLPG, info=1),
        row(6, rec.EXIT),
        row(2, rec.SETSID, 1),
        row(5, rec.EXIT, 1),
        row(5, rec.EXIT, 2),
    ]
    program = compiled(make_recording, model, rows)
    assert steps(program)[5:] == [("setpgid", 1, 1, 0), ("killpg", 1, 0, 0), ("exit", 0, 0, 0)]
    assert steps(program, 1) == [("setsid", 0, 0, 0), ("exit", 0, 0, 0)]


def test_software_kind_infers_how_pages_were_touched(make_recording, model):
    rows = [row(i, rec.FAULT, page=p, info=rec.FAULT_UNKNOWN) for i, p in enumerate((101, 107, TOP - 1), 1)]
    rows += [
        row(8, rec.MAP, page=300, pages=2, info=1, file=2),
        row(9, rec.FAULT, page=300, info=rec.FAULT_UNKNOWN),
    ]
    program = compiled(make_recording, model, [*begin(), *rows], kind="software")
    assert [step[3] for step in steps(program, 0, "touch")] == [
        pr.TOUCH_EXEC, pr.TOUCH_WRITE, pr.TOUCH_WRITE, 0,
    ]  # fmt: skip


def test_software_kind_tells_mprotect_and_growth_from_new_mappings(make_recording, model):
    rows = [
        row(1, rec.MAP, page=300, pages=8, info=1, file=2),
        row(2, rec.MAP, page=302, pages=2, offset=2, info=RW, file=2),  # the same pages of the file: mprotect
        row(3, rec.MAP, page=400, pages=4, info=RW),
        row(4, rec.MAP, page=400, pages=6, info=RW),  # grown
        row(5, rec.MAP, page=304, pages=2, offset=0, info=1, file=2),  # other pages of the file: mapped over
    ]
    program = compiled(make_recording, model, [*begin(), *rows], kind="software")
    assert [step[:3] for step in steps(program)[4:]] == [
        ("mmap", 300, 8), ("mprotect", 302, 2), ("mmap", 400, 4), ("mmap", 404, 2), ("mmap", 304, 2),
        ("exit", 0, 0),
    ]  # fmt: skip


def test_user_time_is_kept_whatever_is_dropped(make_recording, model):
    rows = [
        *begin(),
        row(1, rec.FAULT, page=100),
        row(2, rec.UNMAP, page=300, pages=9),  # no step
        row(4, rec.FAULT, page=101),
        row(9, rec.EXIT),
    ]
    program = compiled(make_recording, model, rows)
    cost = 1000  # the shortest of the times on a CPU, as the quantile of so few
    assert sum(program.user_ns.tolist()) <= 8000
    assert sum(program.user_ns.tolist()) >= 8000 - 4 * cost


pages = st.integers(90, 130)
info = st.integers(0, 7)
kinds = {
    rec.FAULT: st.fixed_dictionaries({"page": pages, "info": st.integers(0, 31)}),
    rec.MAP: st.fixed_dictionaries(
        {"page": pages, "pages": st.integers(0, 12), "offset": st.integers(0, 9), "file": st.integers(0, 3),
         "info": st.integers(0, 63)}
    ),
    rec.UNMAP: st.fixed_dictionaries({"page": pages, "pages": st.integers(0, 12)}),
    rec.PROTECT: st.fixed_dictionaries({"page": pages, "pages": st.integers(0, 12), "info": info}),
    rec.BREAK: st.fixed_dictionaries({"page": pages}),
    rec.MOVE: st.fixed_dictionaries(
        {"page": pages, "pages": st.integers(0, 9), "offset": pages, "info": st.integers(1, 9)}
    ),
    rec.FORK: st.fixed_dictionaries({"info": st.integers(1, 4), "pages": st.integers(0, 1)}),
    rec.WAIT: st.fixed_dictionaries({"info": st.integers(1, 4)}),
    rec.SETPGID: st.fixed_dictionaries({"info": st.integers(0, 4), "offset": st.integers(0, 4)}),
    rec.KILLPG: st.fixed_dictionaries({"info": st.integers(0, 4)}),
    **dict.fromkeys([rec.EXEC, rec.EXIT, rec.KERNEL, rec.ON, rec.SETSID], st.just({})),
    rec.OFF: st.fixed_dictionaries({"info": st.integers(0, 1)}),
}  # fmt: skip
rows_of_any_kind = st.lists(
    st.sampled_from(sorted(kinds)).flatmap(
        lambda kind: st.tuples(st.just(kind), kinds[kind], st.integers(0, 4), st.integers(0, 1))
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(rows_of_any_kind, st.sampled_from(["tracepoints", "software"]))
def test_any_rows_compile_to_a_program_that_is_consistent(make_recording, model, rows, kind):
    made = [
        {"time": 100 * i, "kind": k, "process": process, "thread": thread, **columns}
        for i, (k, columns, process, thread) in enumerate(rows)
    ]
    model(compile_program(make_recording(made, FILES, kind=kind))).check()


def test_the_bundled_recording_is_consistent_and_needs_little_inference(hello, model):
    model(hello).check(processes=1500)
    touches = int((hello.op == pr.TOUCH).sum())
    assert touches > 1_000_000
    assert hello.inferred.get("mappings", 0) < 100
    assert hello.inferred.get("touches dropped", 0) < touches / 1000
