import pytest

from finegrain.study.result import PV_LIST
from make_result import make_result


def test_designs_and_locks_are_found_by_name() -> None:
    result = make_result()
    design = result.design("superpage")
    assert design is result.designs[1]
    lock = design.lock(PV_LIST)
    assert lock is not None
    assert design.pv_wait_us_90min == lock.wait_us_90min > 0
    assert design.lock("sx:nothing") is None
    with pytest.raises(KeyError, match="hashed"):
        result.design("hashed")
