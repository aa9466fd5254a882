from finegrain.workload import recording as rec
from finegrain.workload.rows import ready


def row(time, kind, process=0, **columns):
    return {"time": time * 1000, "kind": kind, "process": process, **columns}


def test_who_forked_whom_and_when(make_recording):
    rows = ready(
        make_recording(
            [
                row(0, rec.EXEC),
                row(3, rec.FORK, info=1),
                row(4, rec.FORK, info=2),
                row(5, rec.FORK, process=1, info=1),  # no process is its own child
                row(6, rec.FAULT, process=2),
                row(8, rec.EXIT, process=2),
                row(9, rec.EXIT),
            ]
        )
    )
    assert rows.processes == 3
    assert rows.parent.tolist() == [-1, 0, 0]
    assert rows.start.tolist() == [0, 3000, 4000]
    assert rows.end.tolist() == [9000, 9000, 8000]  # process 1 is there until the recording ends
    assert rows.bounds.tolist() == [0, 4, 5, 7]


def test_what_follows_an_exit_is_left_out(make_recording):
    rows = ready(make_recording([row(0, rec.EXEC), row(1, rec.EXIT), row(2, rec.OFF)]))
    assert rows.kind.tolist() == [rec.EXEC, rec.EXIT]


def test_what_exec_maps_ends_where_its_next_segment_begins(make_recording):
    whole = {"page": 100, "pages": 10, "info": 5 | rec.MAP_EXEC, "file": 1}
    part = {"page": 104, "pages": 6, "info": 3 | rec.MAP_EXEC, "file": 1}
    files = ["/bin/sh", "/bin/ls"]

    def pages(first, second):
        made = ready(
            make_recording([row(0, rec.EXEC), row(1, rec.MAP, **first), row(1, rec.MAP, **second)], files)
        )
        return made.events["pages"].to_list()[1:]

    assert pages(whole, part) == [4, 6]
    assert pages(whole, part | {"file": 2}) == [10, 6]
    assert pages(whole, part | {"info": 3}) == [10, 6]
    assert pages(whole, part | {"page": 110}) == [10, 6]
