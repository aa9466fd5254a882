"""Kernel memory: blocks never overlap, are zeroed, and are used again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from doors.queues import arena_blocks
from finegrain.machine.simulated import SimulatedMachine


@given(draws=st.lists(st.tuples(st.booleans(), st.integers(1, 20_000), st.integers(0, 99)), max_size=60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_blocks_of_the_arena_never_overlap(draws: list[tuple[bool, int, int]]) -> None:
    steps: list[int] = []
    sizes: list[int] = []
    live: list[int] = []
    alive_at: list[list[int]] = []  # for each block: those alive when it was made
    for make, size, which in draws:
        if make or not live:
            alive_at.append(list(live))
            live.append(len(sizes))
            sizes.append(size)
            steps.append(size)
        else:
            steps.append(-1 - live.pop(which % len(live)))
    offsets = arena_blocks(SimulatedMachine(sockets=1, cores=1, threads=1), steps)
    for i, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        assert offset % min(4096, 1 << max(6, (size - 1).bit_length())) == 0
        for j in alive_at[i]:
            assert offset + size <= offsets[j] or offsets[j] + sizes[j] <= offset


def test_freed_blocks_are_used_again() -> None:
    steps = [5000]
    for i in range(50):
        steps += [-1 - i, 5000 - i]
    assert len(set(arena_blocks(SimulatedMachine(sockets=1, cores=1, threads=1), steps))) == 1
