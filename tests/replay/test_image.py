"""File images: whose pages there are, and who shares them."""

from dataclasses import replace

import numpy as np
import pytest

from doors.processes import mapped_file_pages
from finegrain.errors import UserError
from finegrain.lab.holds import superpage_holds
from finegrain.machine.memory import default_segments, span
from finegrain.workload import program as pr
from replay.made import MS, PS_PER_MS, family, make_machine, make_replay, on
from workload.synthetic import FILE_PAGES, Process, build


def test_images_take_up_memory_once_or_for_each_builder():
    pages = {}
    for images in ("private", "shared"):
        replay = make_replay(family(), jobs=4, images=images)
        replay.prepare()
        pages[images] = replay.kernel.in_use()["pages"]
    reached = FILE_PAGES[0]  # nothing else is mapped
    assert pages["private"] - pages["shared"] == 3 * reached
    with pytest.raises(UserError, match="private, shared and mixed"):
        make_replay(family(), jobs=1, images="none")


def held(replay):
    """Pages of files in memory: {(file, builder): pages}."""
    found = {}
    for superpage in range(span(default_segments(2, 6 << 30)) >> 21):
        for (kind, file, builder), pages in superpage_holds(replay.machine, superpage).items():
            if kind == "file":
                found[file, builder] = found.get((file, builder), 0) + pages
    return found


@pytest.mark.parametrize(("images", "same"), [("private", False), ("shared", True)])
def test_shared_images_share_pages(images, same):
    """With one image, builders map the same pages, which are in memory once; with private ones each has its own."""
    replay = make_replay(family(), jobs=2, images=images, stagger=False)
    replay.machine.run(until=replay.prepare() + PS_PER_MS)
    builders = (-1,) if same else (0, 1)
    assert held(replay) == {(0, builder): FILE_PAGES[0] for builder in builders}
    one, other = mapped_file_pages(replay.machine).values()
    assert len(one) > 0
    assert one.keys() == other.keys()  # the same program
    if same:
        assert one == other
    else:
        assert not set(one.values()) & set(other.values())


def test_a_file_that_several_builders_fill_has_each_page_once():
    """They fill a part of 512 pages each, at the same time, in no order; all of it is found afterwards."""
    pages, step = 4000, 7
    root = Process(-1)
    root.exec()
    root.do(pr.MMAP, 0x10000000, pages * 4096, 0)
    for page in range(0, pages, step):
        root.touch(0x10000000 + page * 4096)
    root.do(pr.SLEEP, 5 * MS)
    root.do(pr.EXIT)
    program = replace(build([root]), file_pages=np.array((pages, *FILE_PAGES[1:]), np.int64))
    replay = make_replay(program, jobs=8, images="shared", stagger=False)
    at = replay.prepare()
    assert held(replay)[0, -1] == pages
    replay.machine.run(until=at + 3 * PS_PER_MS)
    assert replay.counts()["faults"] > pages // step
    assert held(replay)[0, -1] == pages
    assert replay.kernel.audit() == (0, "")
    assert set(replay.drain().values()) == {0}


def test_images_must_fit_in_memory():
    program = family()
    with pytest.raises(UserError, match=r"files of 1000 builders take 0.2 GiB.*fewer jobs"):
        on(make_machine(memory=64 << 20), program, memory=64 << 20, jobs=1000)


def test_every_builder_has_the_files_that_it_maps():
    root = Process(-1)
    root.exec()
    root.do(pr.MMAP, 0x10000000, 96 * 4096, 2)
    root.do(pr.SLEEP, 5 * MS)
    root.do(pr.EXIT)
    replay = on(make_machine(sockets=1), build([root]), sockets=1, jobs=8)
    replay.prepare()
    assert held(replay) == {
        (file, builder): pages for builder in range(8) for file, pages in enumerate(FILE_PAGES[:2])
    }
