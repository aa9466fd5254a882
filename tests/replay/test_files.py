"""Programs that call on files replay: what they find, make and leave."""

import pytest

from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload import syscalls as sc
from finegrain.workload.compile import compile_program
from replay.made import MS, PS_PER_MS, make_replay
from workload.made import Calls

FILES = ["/usr/bin/sh", "/usr/bin/cc", "/usr/lib/libc.so", "/wrkdir/a.so"]
RW = rec.PROT_READ | rec.PROT_WRITE
CREATE = sc.O_CREAT | sc.O_TRUNC | 1


def builds():
    """A shell that works in /work and has a compiler with three threads make a file there, which it maps."""
    calls = Calls(step=20_000)
    calls.time = -calls.step  # a recording begins with its first process
    calls.exec("/usr/bin/sh", 0)
    calls.add(rec.FILE_CHDIR, "/wrkdir")
    calls.add(rec.FILE_OPEN, "/wrkdir/log", info=CREATE)
    calls.add(rec.FILE_WRITE, "/wrkdir/log", pages=100)
    calls.add(rec.FILE_STAT, "/wrkdir/none", error=2)
    calls.add(rec.FORK, info=1)
    _compiles(calls, {"process": 1})
    calls.add(rec.WAIT, info=1)
    calls.add(rec.FILE_WRITE, "/wrkdir/log", page=100, pages=50)
    calls.add(rec.FILE_OPEN, "/wrkdir/a.so")
    calls.add(rec.MAP, page=0x900, pages=2, file=4, info=rec.PROT_READ)
    calls.add(rec.FILE_CLOSE, "/wrkdir/a.so")
    calls.add(rec.FAULT, page=0x901)
    calls.add(rec.FILE_OPEN, "/usr/include")
    calls.add(rec.FILE_GETDENTS, "/usr/include", pages=48)
    calls.add(rec.FILE_CLOSE, "/usr/include")
    calls.add(rec.FILE_MKDIR, "/wrkdir/d")
    calls.add(rec.FILE_MKDIR, "/wrkdir/d", error=17)
    calls.add(rec.FILE_LINK, "/wrkdir/a.so", "/wrkdir/d/b.so")
    calls.add(rec.FILE_SYMLINK, "/wrkdir/d/c.so", "/wrkdir/d/b.so")
    calls.add(rec.FILE_READLINK, "/wrkdir/d/c.so")
    calls.add(rec.FILE_STAT, "/wrkdir/d/c.so")
    calls.add(rec.FILE_SETATTR, "/wrkdir/d/b.so")
    calls.add(rec.FILE_TRUNCATE, "/wrkdir/d/b.so", pages=4096)
    calls.add(rec.FILE_UNLINK, "/wrkdir/d/b.so")
    calls.add(rec.FILE_UNLINK, "/wrkdir/d/c.so")
    calls.add(rec.FILE_RMDIR, "/wrkdir/d")
    calls.add(rec.FILE_UNLINK, "/wrkdir/a.so")
    calls.add(rec.FILE_CLOSE, "/wrkdir/log")
    calls.add(rec.FILE_UNLINK, "/wrkdir/log")
    calls.sleep(3 * MS)
    calls.add(rec.EXIT)
    return compile_program(calls.recording(FILES))


def _compiles(calls, own):
    calls.exec("/usr/bin/cc", 1, **own)
    calls.add(rec.MAP, page=0xA00, pages=4, file=3, info=RW, **own)
    calls.add(rec.FILE_OPEN, "/usr/include/a.h", **own)
    calls.add(rec.FILE_FSTAT, "/usr/include/a.h", **own)
    calls.add(rec.FILE_READ, "/usr/include/a.h", pages=9000, **own)
    calls.add(rec.FILE_CLOSE, "/usr/include/a.h", **own)
    calls.add(rec.MAP, page=0x1000, pages=256, info=RW, **own)
    for thread in (1, 2):
        calls.add(rec.THREAD, info=thread, **own)
    calls.add(rec.FILE_OPEN, "/wrkdir/a.tmp", info=CREATE, **own)
    for i in range(12):
        thread = {"thread": i % 3, **own}
        calls.add(rec.FAULT, page=0x1000 + i * 5, info=rec.FAULT_WRITE, **thread)
        calls.add(rec.FAULT, page=0x1000, info=rec.FAULT_WRITE, **thread)
        calls.add(rec.MAP, page=0x2000 + i, pages=1, info=RW, **thread)
        calls.add(rec.FAULT, page=0x2000 + i - i % 3, info=rec.FAULT_WRITE, **thread)
        calls.add(rec.FILE_WRITE, "/wrkdir/a.tmp", page=i * 500, pages=500, **thread)
    calls.add(rec.UNMAP, page=0x2000, pages=12, thread=1, **own)
    calls.add(rec.THREAD_EXIT, thread=1, **own)
    calls.add(rec.UNMAP, page=0x1000, pages=256, **own)
    calls.add(rec.FILE_CLOSE, "/wrkdir/a.tmp", **own)
    calls.add(rec.FILE_RENAME, "/wrkdir/a.tmp", "/wrkdir/a.so", **own)
    calls.add(rec.EXIT, **own)


def test_each_call_finds_what_the_recordings_did():
    program = builds()
    assert len(program.thread_process) == 2
    replay = make_replay(program, jobs=1, stagger=False, images="private")
    start = replay.prepare()
    replay.machine.run(until=start + (program.duration_ns - 2 * MS) // MS * PS_PER_MS)
    counts = replay.counts()
    assert counts["exits"] == 1
    assert counts["opens"] == int((program.op == pr.FILE_OPEN).sum())
    assert counts["renames"] == 1
    assert counts["file_bytes"] == 100 + 50 + 9000 + 12 * 500
    assert counts["faults_bad"] == 0
    assert replay.kernel.audit() == (0, "")
    nodes = replay.kernel.in_use()["nodes"]
    # what was there from the start: nothing that was made is left
    assert nodes == 1 + len({int(path) for path in program.tree_path[program.tree_time < 0] if path})
    assert set(replay.drain().values()) == {0}


@pytest.mark.parametrize("images", ["private", "shared", "mixed"])
@pytest.mark.parametrize("seed", [1, 2])
def test_builders_that_begin_anywhere_leave_nothing_behind(images, seed):
    program = builds()
    replay = make_replay(program, "superpage+batch", jobs=6, images=images, seed=seed)
    at = replay.prepare()
    assert replay.kernel.audit() == (0, "")
    for _ in range(12):
        at += PS_PER_MS // 2
        replay.machine.run(until=at)
        assert replay.kernel.audit() == (0, "")
    counts = replay.counts()
    assert counts["faults_bad"] == 0
    assert counts["exits"] > 6
    left = replay.drain()
    assert set(left.values()) == {0}, left
