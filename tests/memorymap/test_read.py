"""Whole maps: rendered in every form, mangled as mail and loggers mangle them, damaged at random."""

import io
import quopri
import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finegrain.errors import UserError
from finegrain.machine.memory import Segment
from finegrain.memorymap.read import MAX_NOTES, MemoryMap, memmap_lines, read_file, read_numbered, read_stream

PAGE, M, G = 4096, 1 << 20, 1 << 30

Segments = list[tuple[int, int, int]]


def read(text: str) -> MemoryMap:
    return read_stream(io.BytesIO(text.encode()), "of a test")


# --- renderers

SMAP = "SMAP type={type:02x} base={start:016x} len={length:016x}"
CHUNK = "0x{start:016x} - 0x{last:016x}, {length} bytes ({pages} pages)"
E820 = "[    0.000000] BIOS-e820: [mem 0x{start:016x}-0x{last:016x}] usable"
E820_OLD = "Jul  7 07:07:07 box kernel:  BIOS-e820: {start:016x} - {end:016x} (usable)"
IOMEM = "{start:08x}-{last:08x} : System RAM"
_AT = "/sys/firmware/memmap/{i}"
MEMMAP = f"{_AT}/end:{{last:#x}}\n{_AT}/start:{{start:#x}}\n{_AT}/type:System RAM"
EFI = (
    "[    0.000000] efi: mem{i:02d}: [Conventional Memory|   |  |  |WB|WT|WC|UC] "
    "range=[0x{start:016x}-0x{last:016x}] ({mb}MB)"
)
SEGS = (
    "SEGMENT {i}:\n\nstart:     {start:#x}\nend:       {end:#x}\ndomain:    {domain}\n"
    "free list: 0xffffffff81eb93a8\n"
)
NODES = "[    0.014321]   node {domain:3d}: [mem 0x{start:016x}-0x{last:016x}]"
CHUNK_ARM64 = "  0x{start:08x} - 0x{last:08x}, {mb:5d} MB ({pages:7d} pages)"
XEN = "(XEN)  [{start:016x}, {last:016x}] (usable)"
SETUP_DATA = "[    0.000000] reserve setup_data: [mem 0x{start:016x}-0x{last:016x}] usable"
FRAMES = "[    0.000000]   {domain:3d}: 0x{first:08x} -> 0x{past:08x}"
SRAT = "SRAT: Found memory domain {domain} addr {start:#x} len {length:#x}: enabled"
SRAT_LINUX = "[    0.000000] ACPI: SRAT: Node {domain} PXM {domain} [mem 0x{start:08x}-0x{last:08x}]"


def render(template: str, segments: Segments) -> str:
    return "\n".join(
        template.format(
            i=i, start=start, end=end, last=end - 1, length=end - start, pages=(end - start) // PAGE, domain=domain,
            mb=(end - start) >> 20, type=1, first=start // PAGE, past=end // PAGE,
        )
        for i, (start, end, domain) in enumerate(segments)
    )  # fmt: skip


BARE = {
    SMAP: "SMAP",
    CHUNK: "physical memory chunks",
    CHUNK_ARM64: "physical memory chunks",
    E820: "e820",
    SETUP_DATA: "e820",
    XEN: "e820",
    IOMEM: "/proc/iomem",
    MEMMAP: "/sys/firmware/memmap",
    EFI: "EFI memory map",
}
WITH_DOMAINS = {SEGS: "vm.phys_segs", NODES: "early memory node ranges", FRAMES: "early memory node ranges"}


@st.composite
def maps(draw: st.DrawFn) -> Segments:
    at, out = draw(st.integers(0, 256)) * PAGE, []
    for _ in range(draw(st.integers(1, 12))):
        length = draw(st.integers(1, 1 << draw(st.integers(1, 24)))) * PAGE
        out.append((at, at + length, draw(st.integers(0, 14))))
        at += length + draw(st.integers(1, 1 << draw(st.integers(1, 24)))) * PAGE
    return out


def quoted(text: str) -> str:
    return "\n".join("> > " + line for line in text.split("\n"))


def wrapped(text: str) -> str:
    return "\n".join(
        "\n".join(textwrap.wrap(line, 72, break_long_words=False, break_on_hyphens=False)) or line
        for line in text.split("\n")
    )


def printable(text: str) -> str:
    body = quopri.encodestring(text.encode()).decode()
    return f"From: a\nContent-Transfer-Encoding: quoted-printable\n\n{body}"


def among_others(text: str) -> str:
    return "Copyright (c) 1992-2019 The Project.\nCPU: 2.60-MHz K8\n" + text + "\nbye = 17 (0x11)\n-- \nme\n"


MANGLED: list[Callable[[str], str]] = [
    str,
    quoted,
    wrapped,
    lambda text: quoted(wrapped(text)),
    printable,
    lambda text: printable(quoted(text)),
    among_others,
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace("[    0.000000] ", "[Mon Jan  6 10:00:00 2020] "),
    lambda text: text.replace("[    0.000000] ", "kern  :info  : [    0.000000] "),
]


@settings(max_examples=100, deadline=None)
@given(maps(), st.sampled_from(sorted(BARE)), st.sampled_from(range(len(MANGLED))), st.booleans())
def test_every_form_comes_back_however_it_was_sent(
    segments: Segments, template: str, how: int, domains: bool
) -> None:
    text = render(template, segments)
    if domains:
        text += "\n" + render(SRAT if template in (SMAP, CHUNK, CHUNK_ARM64) else SRAT_LINUX, segments)
    found = read(MANGLED[how](text))
    assert found.form == BARE[template]
    expected = segments if domains else [(start, end, 0) for start, end, _ in segments]
    assert [tuple(segment) for segment in found.segments] == expected
    assert [note for note in found.notes if "domain" not in note] == []


@settings(max_examples=60, deadline=None)
@given(maps(), st.sampled_from(sorted(WITH_DOMAINS)), st.sampled_from(range(len(MANGLED))))
def test_forms_that_tell_domains(segments: Segments, template: str, how: int) -> None:
    found = read(MANGLED[how](render(template, segments)))
    told = found.form, [tuple(segment) for segment in found.segments], found.notes
    assert told == (WITH_DOMAINS[template], segments, [])


@settings(max_examples=20, deadline=None)
@given(maps())
def test_old_e820_lines_end_where_the_next_begins(segments: Segments) -> None:
    assert read(render(E820_OLD, segments)).segments == [Segment(s, e, 0) for s, e, _ in segments]


@settings(max_examples=200, deadline=None)
@given(maps(), st.sampled_from([*BARE, *WITH_DOMAINS, SRAT]), st.data())
def test_damage_never_ends_in_more_than_a_refusal(
    segments: Segments, template: str, data: st.DataObject
) -> None:
    text = list(render(template, segments))
    for _ in range(data.draw(st.integers(1, 20))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(
            st.sampled_from(["", "\n", "=", "0", "f", "x", "-", ":", "\0", "é", "[", "> ", text[at] * 3])
        )
    try:
        found = read("".join(text))
    except UserError as error:
        said = str(error)
    else:
        said = ""
        assert all(a.end <= b.start for a, b in pairwise(found.segments))
        assert all(s.start % PAGE == s.end % PAGE == 0 and s.start < s.end for s in found.segments)
    assert "\n" not in said


# --- what is not as it should be

ONE = "SMAP type=01 base={:016x} len={:016x}\n"


def test_ranges_that_cannot_be_are_named_by_line() -> None:
    found = read(
        "0x0000000000100000 - 0x00000000001fffff, 1048576 bytes (256 pages)\n"
        "0x0000000000500000 - 0x00000000004fffff, 0 bytes (0 pages)\n"
        "0x0000000000900000 - 0x0000000000600000, 1048576 bytes (256 pages)\n"
        "0x0000000000a00000 - 0xffffffffffffffff, 1048576 bytes (256 pages)\n"
        "0x0000000000180000 - 0x00000000002fffff, 1572864 bytes (384 pages)\n"
    )
    assert found.segments == [Segment(M, 3 * M, 0)]
    said = "\n".join(found.notes)
    assert "line 2: a range that is empty" in said
    assert "line 3: a range that is reversed" in said
    assert "line 4: a range beyond all addresses" in said
    assert "line 5: the range 0x180000-0x300000 overlaps that of line 1" in said


def test_ranges_are_rounded_inwards_to_pages() -> None:
    found = read(ONE.format(0x1001, 0x9EBFF) + ONE.format(M + 1, 17))
    assert found.segments == [Segment(0x2000, 0x9F000, 0)]
    assert any("line 2: less than a page" in note for note in found.notes)


def test_what_the_kernel_manages_counts_before_what_firmware_says() -> None:
    chunks, smap = render(CHUNK, [(M, 2 * M, 0)]), render(SMAP, [(M, 3 * M, 0)])
    for text in (chunks + "\n" + smap, smap + "\n" + chunks):
        found = read(text)
        assert (found.form, found.ram) == ("physical memory chunks", M)
        assert "SMAP" in " ".join(found.notes)


def test_the_later_of_two_maps_counts() -> None:
    heading = "Physical memory chunk(s):\n"
    found = read(
        heading
        + render(CHUNK, [(M, 2 * M, 0)])
        + "\n"
        + heading
        + render(CHUNK, [(M, 9 * M, 0), (16 * M, 17 * M, 0)])
    )
    assert found.segments == [Segment(M, 9 * M, 0), Segment(16 * M, 17 * M, 0)]
    assert any("line 3: a second map" in note for note in found.notes)


def test_a_map_that_stands_there_twice_is_read_once() -> None:
    text = render(E820, [(M, 2 * M, 0), (4 * M, 8 * M, 0)])
    found = read(text + "\n" + text)
    assert found.ram == 5 * M
    assert any("2 ranges stand there more than once" in note for note in found.notes)


def test_linux_takes_ranges_away() -> None:
    found = read(
        render(E820, [(0, 2 * M, 0)]) + "\ne820: update [mem 0x00000000-0x00000fff] usable ==> reserved"
        "\ne820: remove [mem 0x000a0000-0x000fffff] usable\n"
    )
    assert found.segments == [Segment(PAGE, 0xA0000, 0), Segment(M, 2 * M, 0)]


def test_old_linux_takes_ranges_away() -> None:
    found = read(
        " BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)\n"
        " BIOS-e820: 0000000000100000 - 00000000cf500000 (usable)\n"
        "e820 update range: 0000000000000000 - 0000000000001000 (usable) ==> (reserved)\n"
        "e820 update range: 00000000cf000000 - 0000000100000000 (usable) ==> (reserved)\n"
    )
    assert found.segments == [Segment(PAGE, 0x9F000, 0), Segment(M, 0xCF000000, 0)]


def test_a_map_with_ranges_set_apart_for_the_boot_loader_replaces_the_firmware_s() -> None:
    """Where one range ends in mid-page and the next begins, the page is whole."""
    found = read(
        "BIOS-provided physical RAM map:\n"
        + render(E820, [(M, G, 0)])
        + "\ne820: update [mem 0x00400018-0x00410057] usable ==> usable\n"
        "extended physical RAM map:\n"
        "reserve setup_data: [mem 0x0000000000100000-0x0000000000400017] usable\n"
        "reserve setup_data: [mem 0x0000000000400018-0x0000000000410057] usable\n"
        "reserve setup_data: [mem 0x0000000000410058-0x000000003fffffff] usable\n"
    )
    assert found.segments == [Segment(M, G, 0)]
    assert any("line 4: a second map (e820); the one from line 2 on" in note for note in found.notes)


def test_a_heading_without_a_map_replaces_nothing() -> None:
    found = read(render(E820, [(M, G, 0)]) + "\ne820: modified physical RAM map:\nhello\n")
    assert found.segments == [Segment(M, G, 0)]
    assert not any("second map" in note for note in found.notes)


def test_what_an_older_boot_took_away_is_not_taken_from_a_later_one() -> None:
    boot = "BIOS-provided physical RAM map:\n" + render(E820, [(M, G, 0)]) + "\n"
    found = read(boot + "e820: remove [mem 0x10000000-0x3fffffff] usable\n" + boot)
    assert found.segments == [Segment(M, G, 0)]


def test_what_freebsd_on_arm64_excludes() -> None:
    found = read(
        "Physical memory chunk(s):\n"
        "  0x001d0000 - 0x001effff,     0 MB (     32 pages)\n"
        "  0x00200000 - 0x339c0fff,   823 MB ( 210881 pages)\n"
        "Excluded memory regions:\n"
        "  0x00000000 - 0x001fffff,     2 MB (    512 pages) NoAlloc \n"
        "  0x30000000 - 0x300fffff,     1 MB (    256 pages) NoDump \n"
    )
    assert found.segments == [Segment(2 * M, 0x339C1000, 0)]


def test_old_node_ranges_are_frames_and_tell_domains() -> None:
    found = read(
        render(E820_OLD, [(M, 4 * G, 0)]) + "\nearly_node_map[2] active PFN ranges\n"
        "    0: 0x00000100 -> 0x00080000\n    1: 0x00080000 -> 0x000cf000\n"
    )
    assert found.segments == [Segment(M, 2 * G, 0), Segment(2 * G, 0xCF000000, 1)]
    assert found.form == "early memory node ranges"


def test_the_firmware_s_map_as_seen_from_within_its_folder() -> None:
    found = read(render(MEMMAP.replace("/sys/firmware/memmap/", ""), [(M, G, 0), (2 * G, 3 * G, 0)]))
    assert found.segments == [Segment(M, G, 0), Segment(2 * G, 3 * G, 0)]


def test_old_e820_lines_broken_within_the_range() -> None:
    text = render(E820_OLD, [(M, G, 0), (2 * G, 3 * G, 0)]).replace(" - ", " -\n")
    assert read(text).segments == [Segment(M, G, 0), Segment(2 * G, 3 * G, 0)]


def test_memory_in_no_domain_that_is_told_is_said() -> None:
    found = read(render(CHUNK, [(M, 4 * M, 0)]) + "\n" + render(SRAT, [(2 * M, 3 * M, 5)]))
    assert found.segments == [Segment(M, 2 * M, 0), Segment(2 * M, 3 * M, 5), Segment(3 * M, 4 * M, 0)]
    assert any("2,097,152 bytes of memory are in no domain" in note for note in found.notes)


def test_many_notes_are_counted() -> None:
    found = read(render(CHUNK, [(M, 2 * M, 0)]) + "\n" + ONE.format(5, 0) * 50)
    assert len(found.notes) == MAX_NOTES + 1
    assert found.notes[-1].startswith("and ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("hello\nworld\n", "no map of physical memory"),
        ("00000000-00000000 : System RAM\n00000000-00000000 : Reserved\n", "not root"),
        ("SMAP type=02 base=0000000000100000 len=0000000000100000\n", "without any memory"),
        (ONE.format(M, 0), "line 1: a range that is empty"),
        (ONE.format(M + 1, 100), "no whole page"),
        (render(SRAT, [(M, 2 * M, 0)]), "add the boot log's memory map"),
        ("Physical memory chunk(s):\n", "no map of physical memory"),
    ],
)
def test_what_is_no_map_is_refused_in_a_line(text: str, says: str) -> None:
    with pytest.raises(UserError, match=None) as error:
        read(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_files_folders_and_what_cannot_be_read(tmp_path: Path) -> None:
    for i, (what, start) in enumerate([("System RAM", 0), ("Reserved", 1), ("System RAM", 2)]):
        entry = tmp_path / "memmap" / str(i)
        entry.mkdir(parents=True)
        for name, value in (("start", hex(start * M)), ("end", hex((start + 1) * M - 1)), ("type", what)):
            (entry / name).write_text(value + "\n")
    expected = [Segment(0, M, 0), Segment(2 * M, 3 * M, 0)]
    assert read_file(str(tmp_path / "memmap")).segments == expected
    assert read_numbered(memmap_lines(tmp_path / "memmap"), "x").form == "/sys/firmware/memmap"
    (tmp_path / "log").write_text(render(E820, [(M, 2 * M, 0)]))
    assert read_file(str(tmp_path / "log")).ram == M
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_file(str(tmp_path / "absent"))


@settings(max_examples=20, deadline=None)
@given(maps())
@example([(1 << 50, (1 << 50) + G, 3)])
def test_huge_addresses_are_addresses(segments: Segments) -> None:
    shifted = [(start + (1 << 48), end + (1 << 48), domain) for start, end, domain in segments]
    assert [tuple(s) for s in read(render(SEGS, shifted)).segments] == shifted
