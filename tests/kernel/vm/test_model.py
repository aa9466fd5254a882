"""The VM against a plain model: what is mapped, who may do what, and who sees which contents."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.vm_model import EXEC, READ
from kernel.vm_pair import BASE, PAGES, RW, SPACES, Pair

space = st.integers(0, SPACES - 1)


page = st.integers(0, PAGES - 1)


length = st.integers(1, 14)


prot = st.sampled_from([0, READ, RW, READ | EXEC])


operation = st.one_of(
    st.tuples(
        st.just("mmap"),
        space,
        page,
        length,
        st.sampled_from([READ, RW, RW]),
        st.booleans(),
        st.integers(-2, 1),
        st.sampled_from([0, 7, 1094]),
        st.integers(0, 2),
    ),
    st.tuples(st.just("munmap"), space, page, length),
    *[st.tuples(st.just("mprotect"), space, page, length, prot)] * 2,
    st.tuples(st.just("fork"), space, space),
    st.tuples(st.just("vfork"), space, space),
    st.tuples(st.sampled_from(["exit", "exec"]), space),
    *[st.tuples(st.just("read"), space, page), st.tuples(st.just("write"), space, page)] * 3,
)


def play(pair, operations):
    """Give the pair those of the operations that make sense."""
    pair.new(0)
    for file in range(2):  # so that no two pages of the files look alike
        pair.mmap(0, BASE, 40, RW, True, file, 0, 0)
        for i in range(0, 40, 3):
            pair.write(0, BASE + i, 100 * file + i + 1)
    pair.munmap(0, BASE, 40)
    value = 1000
    for name, where, *rest in operations:
        if where not in pair.model.spaces:
            continue
        if name in ("fork", "vfork"):
            if rest[0] not in pair.model.spaces:
                getattr(pair, name)(where, rest[0])
        elif name in ("exit", "exec"):
            getattr(pair, name)(where)
        elif name == "mmap":
            start, pages, how, shared, file, offset, premap = rest
            file = max(file, -1)
            if file < 0:
                offset, premap = 0, 0
            pair.mmap(where, BASE + start, pages, how, shared, file, offset, premap)
        elif name == "write":
            value += 1
            pair.write(where, BASE + rest[0], value)
        else:
            getattr(pair, name)(where, BASE + rest[0], *rest[1:])
    for where in pair.model.spaces:
        for i in range(PAGES):
            pair.read(where, BASE + i)


@settings(max_examples=300, deadline=None)
@given(st.lists(operation, max_size=80), st.sampled_from(["head", "superpage", "superpage+batch"]))
def test_any_operations(operations, design):
    pair = Pair(design=design)
    play(pair, operations)
    pair.check()
    pair.end()
