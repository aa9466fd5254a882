"""The same results on a cluster of our own, also when one of its workers is killed."""

import json
import os
import re
import signal
import sys
import threading
import time
from types import ModuleType

import pytest

from finegrain.errors import UserError
from finegrain.report.result import as_dict
from finegrain.study.clusters import Cluster, parse_backend
from finegrain.study.experiment import compare
from finegrain.study.result import Result


def run(cluster: Cluster | None = None) -> Result:
    return compare(
        ["head", "superpage"], cpus=2, seconds=0.004, warmup=0.0, replications=6, seed=3, cluster=cluster
    )


def plain(result: Result) -> str:
    return re.sub(r'"wall_s": [0-9.e-]+', "", json.dumps(as_dict(result)))


def test_a_worker_of_a_dask_cluster_is_killed_and_nothing_is_lost() -> None:
    from distributed import Client, LocalCluster

    expected = plain(run())
    killed: list[int] = []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as own,
        Client(own) as client,
    ):

        def kill_one_that_works() -> None:
            while not killed:
                for address, calls in client.processing().items():
                    if calls and not killed:
                        killed.append(client.run(os.getpid, workers=[address])[address])
                        os.kill(killed[0], signal.SIGKILL)
                time.sleep(0.02)

        killer = threading.Thread(target=kill_one_that_works, daemon=True)
        killer.start()
        found = plain(run(Cluster("dask", own.scheduler_address)))
        killer.join(10)
    assert killed
    assert found == expected


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("dask", "ray"):
        for name in ("distributed", "ray"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UserError, match=rf"pip install 'finegrain\[{kind}\]'"), Cluster(kind).workers():
            pass


def test_ray_is_asked_as_its_documentation_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Ray whose backend is joblib's threads: what is tested is our side of it."""
    from joblib import register_parallel_backend
    from joblib._parallel_backends import ThreadingBackend

    told: list[str] = []
    ray, util, joblib_part = ModuleType("ray"), ModuleType("ray.util"), ModuleType("ray.util.joblib")
    vars(ray).update(
        init=lambda **options: told.append(f"init {options['address']}"),
        shutdown=lambda: told.append("shutdown"),
        cluster_resources=lambda: {"CPU": 2.0},
    )
    vars(joblib_part)["register_ray"] = lambda: register_parallel_backend("ray", ThreadingBackend)
    for name, module in (("ray", ray), ("ray.util", util), ("ray.util.joblib", joblib_part)):
        monkeypatch.setitem(sys.modules, name, module)
    with Cluster("ray", "ray://here").workers() as calls:
        numbers = list(calls([(pow, n, 2) for n in range(20)]))
    assert numbers == [n * n for n in range(20)]
    assert told == ["init ray://here", "shutdown"]


def test_backends_by_name() -> None:
    assert parse_backend("local", None) is None
    assert parse_backend("dask", "tcp://a:1") == Cluster("dask", "tcp://a:1")
    for kind, address in (("slurm", None), ("local", "tcp://a:1")):
        with pytest.raises(UserError, match="--backend"):
            parse_backend(kind, address)
