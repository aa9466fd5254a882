import pytest

from finegrain.errors import UserError
from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.compile import compile_program
from finegrain.workload.mix import MIXES, mixed, shares_of


def test_the_shares_of_the_mixes_add_up_and_are_of_bundled_recordings():
    for shares in MIXES.values():
        assert sum(shares.values()) == pytest.approx(1)
        assert set(shares) <= set(rec.bundled())


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("hello", {"hello": 1.0}),
        ("a.fgrec=0.25,b.fgrec=0.75", {"a.fgrec": 0.25, "b.fgrec": 0.75}),
        ("one=two.fgrec=1", {"one=two.fgrec": 1.0}),
    ],
)
def test_a_workload_is_a_recording_or_several_with_shares(text, shares):
    assert shares_of(text) == shares


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a=0.5,b=0.4", "add up to 0.9"),
        ("a=0.5,a=0.5", "a is there twice"),
        ("a=0.5,b", "'b' is no recording with a share"),
        ("a=-1,b=2", "'a=-1' is no recording with a share"),
        ("a=x,b=1", "'a=x' is no recording with a share"),
        ("=1", "'=1' is no recording with a share"),
    ],
)
def test_shares_that_are_none_are_refused(text, said):
    with pytest.raises(UserError, match=said):
        shares_of(text)


def build(make_recording, folder, file):
    """A process that forks a child, which opens a file, maps it and pipes."""
    rows = [
        {"time": 0, "kind": rec.EXEC},
        {"time": 100, "kind": rec.MAP, "page": 16, "pages": 4, "info": 5 | rec.MAP_EXEC, "file": 1},
        {"time": 1000, "kind": rec.FORK, "info": 1},
        {"time": 1000, "kind": rec.PIPE, "info": 0, "process": 1},
        {"time": 2000, "kind": rec.FILE_OPEN, "path": 3, "process": 1},
        {"time": 3000, "kind": rec.MAP, "page": 64, "pages": 2, "info": 1, "file": 2, "process": 1},
        {"time": 3500, "kind": rec.FAULT, "page": 64, "process": 1},
        {"time": 4000, "kind": rec.EXIT, "process": 1},
        {"time": 4000, "kind": rec.FILE_MKDIR, "path": 4},
        {"time": 9000, "kind": rec.EXIT},
    ]
    paths = ["/", f"/{folder}", f"/{folder}/{file}", f"/{folder}/new"]
    return compile_program(make_recording(rows, ["/bin/sh", f"/{folder}/{file}"], paths=paths))


@pytest.fixture
def parts(make_recording):
    return [
        build(make_recording, "lib", "a"),
        build(make_recording, "src", "b"),
        build(make_recording, "lib", "a"),
    ]


def words(program, process):
    """A process's steps, with names for what they name."""
    names = []

    def path(i):
        text = ""
        while i:
            text = f"/{program.names[program.path_name[i]]}{text}"
            i = int(program.path_parent[i])
        return text or "/"

    first, last = program.first_step[process : process + 2]
    firsts = [program.processes_of(part)[0] for part in range(program.parts)]
    base = max(first for first in firsts if first <= process)
    for i in range(first, last):
        op, a, c = int(program.op[i]), int(program.arg0[i]), int(program.arg2[i])
        if op == pr.EXEC:
            a = program.file_name[a]
        elif op == pr.FORK:
            a -= base
        elif op >= pr.FILE_OPEN:
            a = path(a)
        elif op == pr.MMAP:
            c = program.file_name[program.map_file[c]]
        elif op == pr.PIPE:
            a = "a pipe"
        names.append((pr.OP_NAMES[op], a, c, int(program.time[i]), int(program.user_ns[i])))
    return names


def test_each_part_does_what_its_program_does(parts):
    one = mixed(parts, ["x", "y", "z"], [0.5, 0.25, 0.25])
    assert one.parts == 3
    for part, program in enumerate(parts):
        first, stop = one.processes_of(part)
        assert stop - first == len(program.parent)
        for process in range(first, stop):
            assert words(one, process) == words(program, process - first)


def test_what_has_the_same_name_is_the_same_file_and_pipes_are_not(parts):
    one = mixed(parts, ["x", "y", "z"], [0.5, 0.25, 0.25])
    assert one.file_name == ["/bin/sh", "/lib/a", "/src/b"]
    pipes = one.arg0[one.op == pr.PIPE].tolist()
    assert pipes == [0, 1, 2]
    assert one.names.count("lib") == 1


def test_a_part_is_alive_alone(parts):
    one = mixed(parts, ["x", "y", "z"], [0.5, 0.25, 0.25])
    for part in range(3):
        alive, _ = one.alive_at(2500, part)
        first, stop = one.processes_of(part)
        assert alive.tolist() == list(range(first, stop))


def test_trees_are_told_apart_by_part(parts):
    one = mixed(parts, ["x", "y", "z"], [0.5, 0.25, 0.25])
    made = [(int(p), int(t)) for p, t in zip(one.tree_part, one.tree_time, strict=True) if t >= 0]
    assert made == [(0, 4000), (1, 4000), (2, 4000)]


def test_one_recording_stays_what_it_is(parts):
    alone = mixed(parts[:1], ["x"], [1.0])
    assert alone.op.tolist() == parts[0].op.tolist()
    assert (alone.parts, alone.processes_of(0), alone.duration_of(0)) == (1, (0, 2), parts[0].duration_ns)
