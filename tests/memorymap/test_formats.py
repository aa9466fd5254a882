"""Each form, line by line, as the kernels print it, and with what loggers put around it."""

import pytest

from finegrain.memorymap.formats import CHANGES, DOMAINS, MAPS

K, M, G = 1 << 10, 1 << 20, 1 << 30

LINES = [
    ("vm.phys_segs", "SEGMENT 3: start: 0x1000000 end: 0x40000000 domain: 1", (16 * M, G, 1, True)),
    (
        "physical memory chunks",
        "0x0000000000010000 - 0x0000000000099fff, 565248 bytes (138 pages)",
        (64 * K, 0x9A000, None, True),
    ),
    (
        "early memory node ranges",
        "  node   1: [mem 0x0000000040000000-0x000000007fffffff]",
        (G, 2 * G, 1, True),
    ),
    ("/proc/iomem", "100000000-63fffffff : System RAM", (4 * G, 25 * G, None, True)),
    (
        "e820",
        "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable",
        (0, 0x9FC00, None, True),
    ),
    (
        "e820",
        "BIOS-e820: [mem 0x000000000009fc00-0x00000000000fffff] reserved",
        (0x9FC00, M, None, False),
    ),
    ("e820", " BIOS-e820: 0000000000100000 - 0000000007ff0000 (usable)", (M, 0x7FF0000, None, True)),
    (
        "e820",
        " BIOS-e820: 0000000007ff0000 - 0000000007ff3000 (ACPI NVS)",
        (0x7FF0000, 0x7FF3000, None, False),
    ),
    ("e820", "Xen: [mem 0x0000000000100000-0x00000000ffffffff] usable", (M, 4 * G, None, True)),
    ("/sys/firmware/memmap", "start:0x100000 end:0xbfffffff type:System RAM", (M, 3 * G, None, True)),
    ("/sys/firmware/memmap", "start:0x100000 end:0xbfffffff type:Reserved", (M, 3 * G, None, False)),
    (
        "EFI memory map",
        "efi: mem03: [Conventional Memory|   |  |  |  |  |  |   |WB|WT|WC|UC] range=[0x0000000000100000-0x00000000"
        "3fffffff] (1023MB)",
        (M, G, None, True),
    ),
    (
        "EFI memory map",
        "efi: mem00: type=7, attr=0xf, range=[0x0000000000000000-0x00000000000a0000) (0MB)",
        (0, 640 * K, None, True),
    ),
    (
        "EFI memory map",
        "efi: mem09: [Reserved           |   |  |  ] range=[0x0000000000100000-0x00000000001fffff] (1MB)",
        (M, 2 * M, None, False),
    ),
    (
        "EFI memory map",
        "efi:   0x000040000000-0x00004007ffff [Boot Data          |   |  |WB|WT|WC|UC]",
        (G, G + 512 * K, None, True),
    ),
    (
        "EFI memory map",
        "     ConventionalMemory 000000100000 0x0 00000700 UC WC WT WB",
        (M, 8 * M, None, True),
    ),
    (
        "EFI memory map",
        "    RuntimeServicesCode 000000100000 0x0 00000700 UC WC WT WB RUNTIME",
        (M, 8 * M, None, False),
    ),
    (
        "EFI memory map",
        "efi: mem07: [Conventional Memory|   |  |SP|  |  |WB|WT|WC|UC] range=[0x0000000000100000-0x00000000"
        "001fffff] (1MB)",
        (M, 2 * M, None, False),
    ),
    (
        "physical memory chunks",
        "  0x00200000 - 0x339c0fff,   823 MB ( 210881 pages)",
        (2 * M, 0x339C1000, None, True),
    ),
    ("early memory node ranges", "    1: 0x00080000 -> 0x000cf000", (2 * G, 0xCF000000, 1, True)),
    (
        "e820",
        "BIOS-e820: [mem 0x0000000000100000-0x00000000c4b72fff]  System RAM",
        (M, 0xC4B73000, None, True),
    ),
    (
        "e820",
        "BIOS-e820: [mem 0x00000000c4b73000-0x00000000c58d5fff]  device reserved",
        (0xC4B73000, 0xC58D6000, None, False),
    ),
    (
        "e820",
        "reserve setup_data: [mem 0x0000000000100000-0x00000000cb000017] usable",
        (M, 0xCB000018, None, True),
    ),
    ("e820", "(XEN)  [0000000000100000, 00000000cb000fff] (usable)", (M, 0xCB001000, None, True)),
    ("SMAP", "SMAP type=01 base=0000000000000000 len=000000000009fc00", (0, 0x9FC00, None, True)),
    ("SMAP", "SMAP type=02 base=000000000009fc00 len=0000000000000400", (0x9FC00, 640 * K, None, False)),
]
DOMAIN_LINES = [
    ("SRAT: Found memory domain 1 addr 0x440000000 len 0x400000000: enabled", (17 * G, 33 * G, 1, True)),
    ("ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x0009ffff]", (0, 640 * K, 0, True)),
    ("SRAT: Node 3 PXM 7 [mem 0x100000000-0x23fffffff]", (4 * G, 9 * G, 3, True)),
    ("SRAT: Node 1 PXM 1 80000000-100000000", (2 * G, 4 * G, 1, True)),
    ("node2 block 0x80000000 0x8000000", (2 * G, 2 * G + 128 * M, 2, True)),
]
AROUND = ["{}", "[    0.000000] {}", "Jan  1 00:00:00 host kernel: {}", "<6>[    0.000000] {}"]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(("form", "line", "found"), LINES)
def test_a_line_of_a_map(around: str, form: str, line: str, found: tuple) -> None:
    read = {(at.name, at.find(around.format(line))) for at in MAPS if at.find(around.format(line))}
    if "efi:  " in line or "Conventional" in line[:30] or "RuntimeServices" in line:
        assert (form, found) in read
    else:
        assert read == {(form, found)}


@pytest.mark.parametrize("around", AROUND[:3])
@pytest.mark.parametrize(("line", "found"), DOMAIN_LINES)
def test_a_line_that_tells_a_domain(around: str, line: str, found: tuple) -> None:
    if line.startswith("node"):
        around = "{}"
    assert {at.find(around.format(line)) for at in DOMAINS} - {None} == {found}
    assert not any(at.find(line) for at in MAPS)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(
    ("form", "line", "gone"),
    [
        ("e820", "e820: remove [mem 0x000a0000-0x000fffff] usable", (640 * K, M)),
        ("e820", "e820: update [mem 0x00000000-0x00000fff] usable ==> reserved", (0, 4096)),
        ("e820", "e820: update [mem 0x00000000-0x00000fff] System RAM ==> device reserved", (0, 4096)),
        ("e820", "e820 update range: 0000000000000000 - 0000000000001000 (usable) ==> (reserved)", (0, 4096)),
        ("e820", "e820 remove range: 00000000000a0000 - 0000000000100000 (usable)", (640 * K, M)),
        (
            "physical memory chunks",
            "  0x00000000 - 0x001fffff,     2 MB (    512 pages) NoAlloc ",
            (0, 2 * M),
        ),
    ],
)
def test_what_kernels_take_away(around: str, form: str, line: str, gone: tuple[int, int]) -> None:
    found = [(at.name, at.find(around.format(line))) for at in CHANGES if at.find(around.format(line))]
    assert found == [(form, (*gone, None, True))]


def test_what_stays_memory_is_not_taken_away() -> None:
    for line in (
        "e820: update [mem 0xb80ec018-0xb80fce57] usable ==> usable",
        "e820 update range: 00000000b80ec000 - 00000000b80fc000 (usable) ==> (usable)",
        "  0x30000000 - 0x300fffff,     1 MB (    256 pages) NoDump ",
    ):
        assert not any(at.find(line) for at in CHANGES), line


@pytest.mark.parametrize(
    "line",
    [
        "real memory  = 137438953472 (131072 MB)",
        "PCI: ECAM [mem 0xeec00000-0xeecfffff] reserved as E820 entry",
        "pci 0000:00:01.0: reg 0x10: [mem 0xfe000000-0xfe7fffff pref]",
        "c0001000-eebfffff : PCI Bus 0000:00",
        "  01000000-0220bb07 : Kernel code",
        "SRAT: Found CPU APIC ID 0 domain 0: enabled",
        "NODE_DATA(0) allocated [mem 0x63ffd3000-0x63fffdfff]",
        "Initmem setup node 0 [mem 0x0000000000001000-0x000000063fffffff]",
    ],
)
def test_other_lines_are_no_memory(line: str) -> None:
    for form in (*MAPS, *DOMAINS, *CHANGES):
        assert form.find(line) is None, form.name
