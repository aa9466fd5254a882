from hypothesis import given
from hypothesis import strategies as st

from finegrain.workload.space import ANONYMOUS, SPECIAL, Region, Space

END = 24
RANGE = st.tuples(st.integers(1, END - 1), st.integers(1, 8)).map(lambda r: (r[0], min(END, r[0] + r[1])))
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("map"), RANGE, st.integers(0, 7), st.sampled_from([ANONYMOUS, SPECIAL, 0, 3])),
        st.tuples(st.just("unmap"), RANGE, st.just(0), st.just(0)),
        st.tuples(st.just("protect"), RANGE, st.integers(0, 7), st.just(0)),
    ),
    max_size=12,
)


@given(CHANGES)
def test_a_space_is_what_a_table_of_pages_is(changes: list) -> None:
    space, pages = Space(), {}
    for what, (start, end), prot, backing in changes:
        inside = {page: pages[page] for page in range(start, end) if page in pages}
        there = any(backing != SPECIAL for _, backing in inside.values())
        if what == "map":
            assert space.map(Region(start, end, prot, backing, 0)) == there
            pages |= dict.fromkeys(range(start, end), (prot, backing))
        elif what == "unmap":
            assert space.unmap(start, end) == there
            pages = {page: kept for page, kept in pages.items() if page not in inside}
        else:
            assert space.protect(start, end, prot) == there
            pages |= {page: (prot, backing) for page, (_, backing) in inside.items()}
        for page in range(END + 2):
            found = space.find(page)
            assert (found and (found.prot, found.backing)) == pages.get(page)
        assert all(start < end for start, end in zip(space.starts, space.ends, strict=True))
        assert all(end <= start for end, start in zip(space.ends, space.starts[1:], strict=False))


def test_a_copy_is_a_space_of_its_own() -> None:
    space = Space()
    space.map(Region(1, 5, 3, ANONYMOUS, 0))
    space.heap_end = 9
    copy = space.copy()
    copy.unmap(2, 3)
    assert space.find(2) is not None
    assert copy.find(2) is None
    assert copy.heap_end == 9


def test_gaps_end_at_the_neighbours() -> None:
    space = Space()
    assert space.gap(7) == (1, 1 << 35)
    space.map(Region(2, 4, 3, ANONYMOUS, 0))
    space.map(Region(10, 12, 3, ANONYMOUS, 0))
    assert space.gap(7) == (4, 10)
    assert space.gap(1) == (1, 2)
    assert space.gap(20) == (12, 1 << 35)
