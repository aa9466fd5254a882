"""Costs as they are given on the command line."""

import pytest

from finegrain.errors import UserError
from finegrain.machine.costs import CostModel, parse_costs


def test_what_is_given_differs_and_nothing_else() -> None:
    costs = parse_costs(["rmw_hit_cycles=290", "xfer_cross=180"])
    assert (costs.rmw_hit_cycles, costs.xfer_cross) == (290, 180)
    assert costs.xfer_socket == CostModel().xfer_socket
    assert parse_costs([]) == CostModel()
    assert parse_costs(["line_local_first=0"]).picoseconds()["line_local_first"] == 0


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["rmw=3"], "there is no cost 'rmw'; there are frequency_ghz"),
        (["xfer_cross"], "give xfer_cross a number from 0 to 1e+06"),
        (["xfer_cross=x"], "a number from"),
        (["xfer_cross=nan"], "a number from"),
        (["xfer_cross=-1"], "a number from"),
        (["xfer_cross=inf"], "a number from"),
        (["frequency_ghz=0"], "from 0.1 to 100"),
        (["smt_user=0"], "from 0.01 to 1"),
        (["time_slice=0"], "from 1000 to 1e+09"),
        (["line_local_first=2.5"], "whole number"),
        (["xfer_smt=1", "xfer_smt=1"], "given twice"),
    ],
)
def test_refusals_are_one_line_and_say_what_may_be(texts: list[str], says: str) -> None:
    with pytest.raises(UserError, match=None) as error:
        parse_costs(texts)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
