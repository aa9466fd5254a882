import pytest

from finegrain.lab import pv_space

PAGE, SUPER, MB, GB = 4096, 1 << 21, 1 << 20, 1 << 30


def test_five_levels_of_page_tables_are_counted() -> None:
    space = pv_space("superpage", [(16 * MB, GB, 0), ((1 << 52) + SUPER, (1 << 52) + GB, 1)])
    assert space.reserved == ((1 << 52) + GB) // SUPER * 64 + 64
    assert sum(region.bytes for region in space.regions) == 64 * 1024 + 64
    with pytest.raises(ValueError, match=r"2\*\*57"):
        pv_space("superpage", [(16 * MB, (1 << 57) + PAGE, 0)])


def test_a_server_of_256_gb() -> None:
    """The figures that the source gives: 8 KiB, 2 KiB and 3 MiB hashed; 8 MiB with a struct for each superpage."""
    memory = [(0, 256 * GB, 0)]
    head = pv_space("head", memory)
    assert {region.what: region.bytes for region in head.regions} == {
        "locks": 8192,
        "generations": 2048,
        "heads": 3 * MB,
        "dummy": 24,
    }
    assert sum(r.bytes for r in pv_space("superpage", memory).regions) == 8 * MB + 64
    assert sum(r.bytes for r in pv_space("superpage:lock=mtx8", memory).regions) == 5 * MB + 40
    assert sum(r.bytes for r in pv_space("superpage:lock=bit2", memory).regions) == 4 * MB + 32
    pointers = {
        r.what: r.bytes for r in pv_space("superpage:table=pointers", memory).regions if r.what != "structs"
    }
    assert pointers == {"pointers": MB, "dummy": 64}


def test_segments_are_divided_as_a_kernel_divides_them() -> None:
    """At 16 MB and, with much memory above it, at 4 GB: each part has pages of its own."""
    regions = pv_space("superpage:table=pointers", [(MB, 128 * GB, 0)]).regions
    assert [region.used // 64 for region in regions if region.what == "structs"] == [8, 2040, 63488]


@pytest.mark.parametrize(
    "segments",
    [[], [(GB, GB, 0)], [(GB, MB, 0)], [(MB, GB, 0), (GB - PAGE, 2 * GB, 0)], [(MB, GB, 256)], [(-1, GB, 0)]],
)
def test_memory_that_cannot_be_is_refused(segments: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match="memory segment"):
        pv_space("superpage", segments)
