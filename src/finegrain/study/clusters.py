"""Where the runs of a study are made: in processes of this computer, or on a Dask or Ray cluster through joblib.

All give the same: a function that makes calls and yields their results in order, as `workers` does. A call goes to a
cluster with the recording's bytes, and each of its computers compiles them once: nothing needs a disk that all share.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from finegrain.errors import UserError
from finegrain.study.measure import Measurement, Task, measure
from finegrain.study.workers import Arrived, Call
from finegrain.workload.stored import store_sent

BACKENDS: Final = ("local", "dask", "ray")
_PACKAGES: Final = {"dask": "distributed", "ray": "ray"}
_PER_WORKER: Final = 2  # calls sent ahead for each worker, so that one that is done finds work

Run = Callable[..., Generator[Any, None, None]]


@dataclass(frozen=True)
class Cluster:
    """A cluster: its kind, and the address of its scheduler (None: one of its own, on this computer's cores)."""

    kind: str
    address: str | None = None

    def workers(self) -> AbstractContextManager[Run]:
        """Connect, and give the function that makes calls; UserError when that cannot be done."""
        return _connected(self)


def parse_backend(kind: str, address: str | None) -> Cluster | None:
    """Read `--backend` and `--address`; None is this computer alone."""
    if kind not in BACKENDS:
        raise UserError(f"--backend {kind!r}: there are {', '.join(BACKENDS)}")
    if kind == "local":
        if address is not None:
            raise UserError("--address names a cluster's scheduler; give --backend dask or ray too")
        return None
    return Cluster(kind, address)


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Run]:
    from joblib import delayed, parallel_config

    with ExitStack() as stack:
        try:
            size = _dask(cluster, stack) if cluster.kind == "dask" else _ray(cluster, stack)
        except ModuleNotFoundError:
            package = _PACKAGES[cluster.kind]
            raise UserError(
                f"--backend {cluster.kind} needs the package {package}: pip install 'finegrain[{cluster.kind}]'"
            ) from None
        except (OSError, ValueError, ConnectionError) as error:
            why = str(error).split("\n")[0]
            raise UserError(
                f"no {cluster.kind} cluster at {cluster.address or 'this computer'}: {why}"
            ) from None
        stack.enter_context(parallel_config(backend=cluster.kind, n_jobs=size))

        def run(
            calls: Iterable[Call],
            cancel: Callable[[], None] = lambda: None,
            arrived: Arrived = lambda *_: None,
        ) -> Generator[Any, None, None]:
            tasks = (
                delayed(_numbered)(number, function, *arguments)
                for number, (function, *arguments) in enumerate(calls)
            )
            results = _as_they_come(tasks, size) if cluster.kind == "dask" else _in_batches(tasks, size)
            early: dict[int, Any] = {}
            wanted = 0
            try:
                for number, result in results:
                    arrived(number, result)
                    early[number] = result
                    while wanted in early:
                        yield early.pop(wanted)
                        wanted += 1
            finally:
                cancel()
                results.close()

        yield run


def _as_they_come(tasks: Iterator[Any], size: int) -> Generator[Any, None, None]:
    from joblib import Parallel

    parallel = Parallel(return_as="generator_unordered", pre_dispatch=_PER_WORKER * size, batch_size=1)
    results: Generator[Any, None, None] = parallel(tasks)
    return results


def _in_batches(tasks: Iterator[Any], size: int) -> Generator[Any, None, None]:
    """Make some calls, and then some more: Ray's part of joblib gives no result before all of a list are there."""
    from joblib import Parallel

    while batch := list(islice(tasks, _PER_WORKER * size)):
        yield from Parallel(batch_size=1)(batch)


def _dask(cluster: Cluster, stack: ExitStack) -> int:
    from distributed import Client, LocalCluster

    if cluster.address is None:
        own = stack.enter_context(
            LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=None)
        )
        client = stack.enter_context(Client(own))
    else:
        client = stack.enter_context(Client(cluster.address, timeout="10s"))
    return max(1, len(client.scheduler_info(n_workers=-1)["workers"]))


def _ray(cluster: Cluster, stack: ExitStack) -> int:
    import ray
    from ray.util.joblib import register_ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    stack.callback(ray.shutdown)
    register_ray()
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _numbered(number: int, function: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    return number, function(*arguments)


def measure_sent(task: Task, recording: bytes) -> Measurement:
    """Measure a task whose recording was sent along; this computer compiles it when it has not yet."""
    return measure(replace(task, program=_compiled(recording)))


def _compiled(recording: bytes) -> str:
    """Give the folder of the compiled recording, made when it is not there; whoever is first makes it for all."""
    name = f"finegrain-{os.getuid()}-{hashlib.sha256(recording).hexdigest()[:32]}"
    place = Path(tempfile.gettempdir(), name)
    if place.is_dir():
        return str(place)
    with tempfile.TemporaryDirectory(prefix=f".{name}.") as beside:
        made = Path(beside, "program")
        made.mkdir()
        store_sent(recording, str(made))
        try:
            made.rename(place)
        except OSError:
            if not place.is_dir():  # somebody else was first
                raise
    return str(place)
