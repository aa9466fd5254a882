"""Files against plain objects: what every call answers, what is there afterwards, and that nothing is left."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.file_model import APPEND, CREAT, EXCL, READ, TRUNC, WRITE, Model
from kernel.files_run import in_use, make, nothing_left

FDS = 4
NAMES = ["a", "b", "c"]
name = st.sampled_from(NAMES)
component = st.sampled_from([*NAMES * 3, ".", ".."])
path = st.builds(
    lambda up, names: up + "/".join(names), st.sampled_from(["", "/"]), st.lists(component, max_size=4)
)
given_path = st.one_of(
    path, st.builds(lambda a, b: f"/{a}/{b}", name, name), st.builds(lambda a: "/" + a, name)
)
size = st.sampled_from([0, 1, 4095, 4096, 4097, 10_000, 30_000])
offset = st.sampled_from([-1, -1, -1, 0, 5000, 20_000])
fd = st.integers(0, FDS - 1)
flags = st.builds(
    lambda mode, more: mode | more,
    st.sampled_from([READ, WRITE, READ | WRITE]),
    st.sampled_from([0, CREAT, CREAT, CREAT, CREAT | EXCL, CREAT | TRUNC, TRUNC, APPEND | CREAT]),
)
target = st.one_of(path, st.just("/"), st.just("a"), st.just("../b"))
call = st.one_of(
    *[st.tuples(st.just("mkdir"), given_path)] * 4,
    *[st.tuples(st.just("open"), given_path, fd, flags)] * 4,
    *[st.tuples(st.just("rename"), given_path, given_path)] * 3,
    st.tuples(st.just("stat"), given_path, st.integers(0, 1)),
    *[st.tuples(st.sampled_from(["rmdir", "unlink", "setattr", "chdir"]), given_path)] * 2,
    st.tuples(st.just("truncate"), given_path, size),
    st.tuples(st.just("symlink"), target, given_path),
    st.tuples(st.just("link"), given_path, given_path),
    st.tuples(st.just("close"), fd),
    st.tuples(st.just("read"), fd, size, offset),
    *[st.tuples(st.just("write"), fd, size, offset)] * 2,
    st.tuples(st.just("ftruncate"), fd, size),
    st.tuples(st.sampled_from(["fstat", "pages"]), fd),
)
ON_PATHS = {
    "mkdir",
    "open",
    "rename",
    "stat",
    "rmdir",
    "unlink",
    "setattr",
    "chdir",
    "truncate",
    "symlink",
    "link",
}


@settings(max_examples=150, deadline=None)
@given(st.lists(call, max_size=60))
def test_any_calls(calls):
    files, model = make(), Model()
    ops, expected = [("mount", 0)], [0]
    for what, *arguments in calls:
        if (what not in ON_PATHS and arguments[0] not in model.fds) or (
            what == "open" and arguments[1] in model.fds
        ):
            continue
        ops.append((what, 0, *arguments) if what in ON_PATHS else (what, *arguments))
        expected.append(model.call(what, *arguments))
    assert list(zip(ops, files.run(*ops), strict=True)) == list(zip(ops, expected, strict=True))
    assert files.audit() == ""
    assert files.tree(0) == model.tree()
    assert in_use(files) == model.in_use()
    files.run(*[("close", fd) for fd in model.fds], ("unmount", 0))
    assert files.audit() == ""
    nothing_left(files)
