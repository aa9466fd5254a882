from pathlib import Path

import pytest

from finegrain.errors import UserError
from finegrain.options import KernelOptions
from finegrain.study.calibration import (
    SHIPPED,
    Applied,
    Calibration,
    apply,
    calibration_text,
    read_calibration,
    read_target,
)

MADE = Calibration(
    cost_scale=1.5, user_time=0.75, listings_per_s=2.0, map_readings_per_s=0.5, pfs_nodes=300.0, workload="mine",
    images="private", cpus=8, jobs=8,
)  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(calibration_text(MADE, {"rw:pmap pv list": (10.0, 11.0)}))
    return str(path)


def test_a_calibration_is_read_as_it_was_written(made: str) -> None:
    assert read_calibration(made) == MADE


def test_the_shipped_one_is_of_the_mix_and_within_its_bounds() -> None:
    shipped = read_calibration(SHIPPED)
    assert (shipped.workload, shipped.images, shipped.cpus, shipped.jobs) == ("poudriere", "mixed", 104, 104)
    assert 0.5 <= shipped.cost_scale <= 2
    assert 0.5 <= shipped.user_time <= 2


def test_the_shipped_one_scales_costs_everywhere_and_the_rest_for_the_mix_alone() -> None:
    shipped = read_calibration(SHIPPED)
    mix, other = apply(SHIPPED, "poudriere", cpus=16), apply(SHIPPED, "hello", cpus=104)
    assert (mix.cost_scale, mix.user_time) == (shipped.cost_scale, shipped.user_time)
    assert (other.cost_scale, other.user_time, other.rates) == (shipped.cost_scale, 1.0, None)
    assert "user time" in mix.said
    assert "user time" not in other.said


@pytest.mark.parametrize("name", [None, "none"])
def test_none_changes_nothing(name: str | None) -> None:
    assert apply(name, "poudriere", cpus=104) == Applied()


def test_a_file_is_for_what_it_was_made_for(made: str) -> None:
    applied = apply(made, "mine", cpus=8)
    assert (applied.cost_scale, applied.user_time) == (1.5, 0.75)
    for workload, cpus in (("other", 8), ("mine", 16)):
        with pytest.raises(UserError, match=f"made for mine on 8 CPUs, not for {workload} on {cpus}"):
            apply(made, workload, cpus=cpus)
    assert apply(made, "other", cpus=16, force=True) == applied


def test_rates_that_somebody_has_said_stay(made: str) -> None:
    applied = apply(made, "mine", cpus=8)
    options = applied.options(KernelOptions(listings_per_s=7.0))
    assert (options.listings_per_s, options.map_readings_per_s, options.pfs_nodes) == (7.0, 0.5, 300)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = ", "is no TOML"),
        ("a = 1", "is no calibration"),
        ('schema = "finegrain.calibration/1"\nuser_time = -1', "user_time is -1"),
        ('schema = "finegrain.calibration/1"\nlistings_per_s = -0.5', "listings_per_s is -0.5"),
        ('schema = "finegrain.calibration/1"\ncost_scale = "2"', "cost_scale is '2'"),
        ('schema = "finegrain.calibration/1"\nwait = 2', "'wait' is not fitted"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_calibration(str(path))
    with pytest.raises(UserError, match="cannot read calibration"):
        read_calibration(str(tmp_path / "missing"))


def target(tmp_path: Path, waits: str, more: str = "minutes = 45\ncpus = 4\njobs = 4\n") -> Path:
    path = tmp_path / "t.toml"
    path.write_text(f'schema = "finegrain.target/1"\n{more}[waited_us]\n{waits}\n')
    return path


def test_a_target_is_scaled_to_90_minutes(tmp_path: Path) -> None:
    read = read_target(target(tmp_path, '"rw:pmap pv list" = 10\n"sx:proctree" = 2.5'))
    assert read.waited_us == {"rw:pmap pv list": 20.0, "sx:proctree": 5.0}
    assert (read.cpus, read.jobs, read.workload) == (4, 4, "poudriere")


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        ('"rw:pmap pv lists" = 10', "there is no lock 'rw:pmap pv lists'"),
        ('"sx:proctree" = -1', "sx:proctree is -1"),
        ('"sx:proctree" = "a"', "sx:proctree is 'a'"),
        ("", r"no table \[waited_us\]"),
    ],
)
def test_a_target_that_is_none_is_refused(tmp_path: Path, waits: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_target(target(tmp_path, waits))


def test_the_shipped_target_is_the_measured_column() -> None:
    import finegrain

    path = Path(finegrain.__file__).parent / "calibrations" / "head.target.toml"
    read = read_target(path)
    assert read.waited_us["rw:pmap pv list"] == 14_750_058_915
    assert len(read.waited_us) == 8
