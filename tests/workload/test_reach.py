from hypothesis import given, settings

from finegrain.workload import program as pr
from finegrain.workload.reach import fill_runs, reached_pages
from workload.synthetic import FILE_PAGES, Process, build, programs


def test_reached_pages():
    root = Process(-1)
    root.exec()
    root.do(pr.MMAP, 0x10000000, 200 * 4096, 2)  # the library; 96 pages of it at once
    root.touch(0x10000000 + 150 * 4096, False)
    root.do(pr.EXIT)
    reached = reached_pages(build([root]))
    assert reached[0].all()  # exec maps it whole
    assert reached[1].nonzero()[0].tolist() == [*range(101), *range(145, 156)]
    assert not reached[2].any()
    assert fill_runs(build([root])) == [
        (0, 1, 0, 40),
        (1, 1, 0, 101),
        (1, 0, 101, 44),
        (1, 1, 145, 11),
        (1, 0, 156, 44),
    ]


@settings(max_examples=40, deadline=None)
@given(programs())
def test_no_replay_looks_for_a_page_that_is_not_reached(program):
    """Every fault finds the file pages that it needs: a missing one would be filled with zeros."""
    reached = reached_pages(program)
    spaces = {0: {}}
    for process in range(len(program.parent)):
        space = spaces.setdefault(process, {})
        for i in range(program.first_step[process], program.first_step[process + 1]):
            op, arg0, pages = program.op[i], int(program.arg0[i]) // 4096, int(program.arg1[i]) // 4096
            if op == pr.EXEC:
                space.clear()
            elif op == pr.MMAP:
                kind = program.arg2[i]
                for page in range(pages):
                    file = int(program.map_file[kind])
                    space[arg0 + page] = (file, int(program.map_page[kind]) + page)
            elif op == pr.MUNMAP:
                for page in range(pages):
                    space.pop(arg0 + page, None)
            elif op in (pr.FORK, pr.VFORK):
                spaces[int(program.arg0[i])] = dict(space)
            elif op == pr.TOUCH:
                file, page = space[arg0]
                for neighbour in range(max(0, page - 4), page + 5):
                    assert file < 0 or neighbour >= FILE_PAGES[file] or reached[file][neighbour]
