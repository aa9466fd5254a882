import pytest

from finegrain.design import LAYOUTS, OPTIONS, Design, parse_design, parse_designs
from finegrain.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("head", Design("head", "hashed", locks=256)),
        ("head+batch", Design("head+batch", "hashed", locks=256, batch=True)),
        ("superpage", Design("superpage", "superpage")),
        ("superpage+batch", Design("superpage+batch", "superpage", batch=True)),
        ("superpage:lock=rw", Design("superpage:lock=rw", "superpage", lock="rw")),
        ("hashed:locks=4096,padded", Design("hashed:locks=4096,padded", "hashed", locks=4096, pad=128)),
        (
            "hashed:lock=mtx8,pad=64",
            Design("hashed:lock=mtx8,pad=64", "hashed", locks=256, lock="mtx8", pad=64),
        ),
        (
            "superpage:table=pointers,lock=bit2,pad=128+batch",
            Design(
                "superpage:table=pointers,lock=bit2,pad=128+batch",
                "superpage",
                table="pointers",
                lock="bit2",
                pad=128,
                batch=True,
            ),
        ),
        ("hashed", Design("hashed", "hashed", locks=256)),
    ],
)
def test_spellings(text: str, expected: Design) -> None:
    assert parse_design(text) == expected


def test_every_option_of_a_layout_is_a_field_and_has_values() -> None:
    for spelling, layout in LAYOUTS.items():
        design = parse_design(spelling)
        for option in layout.options:
            assert hasattr(design, "pad" if option == "padded" else option)
            assert option in OPTIONS


def test_the_hashed_array_is_only_there_where_locks_are_hashed() -> None:
    assert parse_design("hashed:locks=7").locks == 7
    assert parse_design("superpage").locks == 0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("heap", ", ".join(LAYOUTS)),
        ("head+fast", "'+batch'"),
        ("head:locks=3", "allows: none"),
        ("hashed:locks=0", "1 to"),
        ("hashed:locks=x", "1 to"),
        ("hashed:locks", "needs a value"),
        ("hashed:padded=1", "takes no value"),
        ("hashed:locks=2,locks=3", "given twice"),
        ("superpage:lock=mtx9", "lock=mtx9: allowed: rw, mtx, mtx8, bit2"),
        ("hashed:lock=bit2", "lock=bit2: allowed: rw, mtx, mtx8"),
        ("superpage:table=dense", "table=dense: allowed: sparse, filled, pointers"),
        ("superpage:locks=3", "superpage allows: table, lock, pad, padded"),
        ("hashed:table=sparse", "hashed allows: locks, lock, pad, padded"),
        ("hashed:pad=32", "pad=32: allowed: 64, 128"),
        ("hashed:padded,pad=64", "given twice"),
        ("hashed:locks=\N{SUPERSCRIPT TWO}", "1 to 1048576"),
        ("", "unknown layout"),
    ],
)
def test_refusals_name_what_is_allowed(text: str, names: str) -> None:
    with pytest.raises(UserError, match=None) as error:
        parse_design(text)
    assert names in str(error.value)
    assert "\n" not in str(error.value)


def test_lists_split_at_commas_outside_options() -> None:
    designs = parse_designs("head,hashed:locks=512,padded,superpage+batch")
    assert [d.name for d in designs] == ["head", "hashed:locks=512,padded", "superpage+batch"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("head", "hashed"),
        ("head", "hashed:lock=rw,locks=256"),
        ("superpage", "superpage:table=sparse,lock=rw"),
        ("superpage", "superpage:pad=64"),  # 64 bytes as it is
        ("superpage:padded", "superpage:pad=128"),
        ("superpage:lock=mtx8,pad=64", "superpage:pad=64,lock=mtx8"),
    ],
)
def test_two_spellings_of_one_design_are_given_twice(one: str, other: str) -> None:
    with pytest.raises(UserError, match=f"{other}' given twice, as '{one}' is the same"):
        parse_designs(f"{one} {other}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("superpage:lock=mtx8", "superpage:lock=mtx8,pad=64"),
        ("superpage:lock=bit2", "superpage:lock=mtx8"),
        ("superpage", "superpage:table=pointers"),
        ("superpage", "superpage+batch"),
        ("hashed:locks=8", "hashed:locks=8,pad=64"),
        ("superpage:lock=rw", "superpage:lock=mtx"),
    ],
)
def test_designs_that_differ_go_together(one: str, other: str) -> None:
    assert [design.name for design in parse_designs(f"{one} {other}")] == [one, other]


@pytest.mark.parametrize("text", ["", ",", "head,head", "head,,nothing"])
def test_bad_lists(text: str) -> None:
    with pytest.raises(UserError):
        parse_designs(text)
