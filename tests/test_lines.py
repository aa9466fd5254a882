import io
import string

from hypothesis import given
from hypothesis import strategies as st

from finegrain.lines import clean_lines


@given(st.text(alphabet=string.printable + "\u00a0é", max_size=300))
def test_lines_keep_their_numbers_and_hold_no_control_characters(text: str) -> None:
    lines = list(clean_lines(io.BytesIO(text.encode())))
    numbers = [number for number, _ in lines]
    assert numbers == sorted(numbers)
    assert all(line.isprintable() or "\u00a0" in line for _, line in lines)


def test_a_line_of_megabytes_is_not_held() -> None:
    data = b"x" * (5 << 20) + b"\nlast line\n"
    lines = list(clean_lines(io.BytesIO(data)))
    assert [number for number, _ in lines] == [1, 2]
    assert lines[-1][1] == "last line"
    assert len(lines[0][1]) <= 1 << 20
