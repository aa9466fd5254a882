"""Memory layouts: right size, hole and domains, for any machine."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.machine.memory import (
    GIB,
    HOLE_END,
    HOLE_START,
    LOW_START,
    MIB,
    default_segments,
    span,
)  # fmt: skip


def test_the_default_is_two_domains_that_meet_at_258_gb() -> None:
    assert default_segments() == [
        (LOW_START, 2 * GIB, 0),
        (4 * GIB, 0x4080000000, 0),
        (0x4080000000, 0x8080000000, 1),
    ]
    assert span(default_segments()) == 514 * GIB


@given(st.integers(1, 16), st.integers(16 * MIB, 1 << 40))
def test_segments_ascend_avoid_the_hole_and_give_each_socket_its_share(sockets: int, share: int) -> None:
    segments = default_segments(sockets, share * sockets)
    assert all(a.end <= b.start for a, b in pairwise(segments))
    for s in segments:
        assert LOW_START <= s.start < s.end
        assert s.end <= HOLE_START or s.start >= HOLE_END
        assert s.start % 4096 == s.end % 4096 == 0
    sizes = [sum(s.end - s.start for s in segments if s.domain == d) for d in range(sockets)]
    share -= share % (2 * MIB)
    assert sizes == [share - LOW_START] + [share] * (sockets - 1)


def test_too_little_memory_is_the_users_error() -> None:
    with pytest.raises(UserError, match="at least 16 MB"):
        default_segments(4, 60 * MIB)
