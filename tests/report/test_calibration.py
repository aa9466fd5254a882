from finegrain.report.calibration import text
from finegrain.study.calibrate import PARAMETERS, Fitted
from finegrain.study.calibration import Calibration


def test_a_fit_says_values_bounds_and_how_far_each_lock_is_off() -> None:
    slopes = {p.name: -0.5 for p in PARAMETERS}
    fitted = Fitted(
        Calibration(cost_scale=1.25, user_time=2.0, workload="poudriere", cpus=104, jobs=104),
        {"rw:pmap pv list": 1000.0, "sx:proctree": 10.0},
        {"rw:pmap pv list": 1500.0, "sx:proctree": 0.0},
        {"rw:pmap pv list": slopes, "sx:proctree": slopes},
        3,
    )
    lines = text(fitted).splitlines()
    rows = {line.split()[0]: line for line in lines if line}
    assert "(at its bound)" in rows["user_time"]
    assert "1.25" in rows["cost_scale"]
    assert "bound)" not in rows["cost_scale"]
    assert "not fitted: the column has no sleep mutex:pfs_vncache" in rows["pfs_nodes"]
    assert rows["rw:pmap"].split()[3:6] == ["1000", "1500", "1.50"]
    assert rows["sx:proctree"].split()[1:4] == ["10", "0", "0.00"]
    assert rows["sx:proctree"].split()[4:] == ["-0.50"] * len(PARAMETERS)
