from finegrain.workload import program as pr
from finegrain.workload import recording as rec
from finegrain.workload.draft import END, Draft, lay_out
from finegrain.workload.rows import ready
from finegrain.workload.space import ANONYMOUS, Region


def test_touches_and_other_steps_come_in_the_order_of_their_rows(make_recording):
    recording = make_recording(
        [
            {"time": 0, "kind": rec.EXEC},
            {"time": 1000, "kind": rec.FAULT, "page": 7},
            {"time": 2000, "kind": rec.FAULT, "page": 8},
            {"time": 3000, "kind": rec.EXIT},
            {"time": 1500, "kind": rec.FAULT, "page": 9, "process": 1},
        ],
        ["/bin/sh"],
    )
    rows = ready(recording)
    draft = Draft(bytearray([0, 0, 1, 0, 0]), bytearray([0, pr.TOUCH_WRITE, 0, 0, 0]))
    draft.add(0, pr.EXEC)
    draft.mmap(1, Region(7, 9, 3, 0, -5), pr.MAP_PRIVATE)
    draft.mmap(1, Region(20, 24, 3, ANONYMOUS, 0), pr.MAP_PRIVATE)
    draft.add(3, pr.EXIT)
    draft.to = 1
    draft.add(END, pr.EXIT)  # added where the recording has none
    program = lay_out(recording, rows, draft)
    assert [pr.OP_NAMES[op] for op in program.op] == [
        "exec",
        "mmap",
        "mmap",
        "touch",
        "exit",
        "touch",
        "exit",
    ]
    assert program.first_step.tolist() == [0, 5, 7]
    assert (program.arg0 // pr.PAGE_BYTES).tolist() == [0, 7, 20, 7, 0, 9, 0]
    assert program.arg2.tolist()[3] == pr.TOUCH_WRITE
    assert program.time.tolist() == [0, 1000, 1000, 1000, 3000, 1500, 3000]
    assert program.map_file.tolist() == [0, pr.NO_FILE]
    assert program.map_page.tolist() == [2, 0]
    assert program.file_pages.tolist() == [4]
