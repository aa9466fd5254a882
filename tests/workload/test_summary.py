from finegrain.workload import recording as rec
from finegrain.workload.recording import load
from finegrain.workload.summary import summarize


def test_counts(make_recording):
    rows = [
        {"time": 0, "kind": rec.EXEC},
        {"time": 100, "kind": rec.MAP, "file": 1, "pages": 1, "info": 5 | rec.MAP_EXEC},
        {"time": 200, "kind": rec.MAP, "file": 2, "pages": 1, "info": 5 | rec.MAP_EXEC},
        *({"time": 300 + i * 100, "kind": rec.FAULT, "info": i % 2 * rec.FAULT_WRITE} for i in range(5)),
        {"time": 900, "kind": rec.FAULT, "info": rec.FAULT_WRITE | rec.FAULT_PRESENT | rec.FAULT_IN_KERNEL},
        {"time": 1000, "kind": rec.FORK, "info": 1},
        {"time": 1100, "kind": rec.FORK, "info": 2, "pages": 1},
        {"time": 1200, "kind": rec.OFF},
        {"time": 9000, "kind": rec.ON},
        {"time": 9100, "kind": rec.MAP, "pages": 1},
        {"time": 1200, "kind": rec.EXIT, "process": 1},
        {"time": 1100, "kind": rec.FAULT, "process": 2, "thread": 3},
        {"time": 1300, "kind": rec.EXIT, "process": 2},
        {"time": 9900, "kind": rec.EXIT},
    ]
    summary = summarize(make_recording(rows, ["/bin/sh", "/lib/ld.so"]))
    assert (summary.processes, summary.threads, summary.concurrent) == (3, 1, 3)
    assert (summary.forks, summary.vforks, summary.execs) == (1, 1, 1)
    assert summary.faults == {("read", False): 4, ("write", False): 2, ("write", True): 1}
    assert summary.kernel_faults == 1
    assert (summary.file_maps, summary.anonymous_maps, summary.exec_maps) == (2, 1, 2)
    assert summary.on_cpu_ns == 9900 - 7800
    assert summary.faults_per_process == [(0, 1, 1), (1, 2, 1), (2, 4, 0), (4, 8, 1)]
    assert summary.executables == [("/bin/sh", 1)]


def test_the_bundled_recording():
    recording = load("hello")
    summary = summarize(recording)
    assert sum(count for *_, count in summary.faults_per_process) == recording.processes
    assert sum(count for _, count in summary.executables) == summary.execs
    assert summary.forks + summary.vforks == recording.processes - 1
    assert "/usr/lib/gcc/x86_64-linux-gnu/12/cc1" in dict(summary.executables)
    assert 0 < summary.on_cpu_ns < recording.cpus * recording.duration_ns
