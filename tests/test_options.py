import pytest

from finegrain.errors import UserError
from finegrain.options import KernelOptions


def test_nothing_is_said_of_the_defaults():
    assert KernelOptions().others() == []
    assert KernelOptions(cow="unlocked", listings_per_s=2.5).others() == [
        "cow unlocked",
        "listings per s 2.5",
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cow": "both"}, "cow 'both': there are held and unlocked"),
        ({"active_scan_s": 0.5}, "active scan of 0.5 s"),
        ({"listings_per_s": -1}, "-1 listings a second"),
        ({"listings_per_s": float("nan")}, "nan listings a second"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        KernelOptions(**wrong)
