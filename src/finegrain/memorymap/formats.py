"""The forms in which kernels and firmware tell where memory is, a line each.

Each form is a pattern that finds a range in a line, whatever stands around it (time stamps, a syslog's prefix, foreign
text); kernels print ends inclusively or not, which the form knows. Sources: FreeBSD sys/amd64/amd64/machdep.c and
sys/x86/acpica/srat.c, sys/vm/vm_phys.c (sysctl vm.phys_segs); Linux arch/x86/kernel/e820.c, kernel/resource.c,
drivers/firmware/efi/efi.c, drivers/acpi/numa/srat.c, mm/mm_init.c, Documentation/ABI/testing/sysfs-firmware-memmap.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Found = tuple[int, int, int | None, bool]
"""A range: start, end (its first byte after), the domain if it is told, and whether it is memory that can be used."""

_HEX: Final = r"(?:0x)?([0-9a-fA-F]{1,16})"
_RANGE: Final = rf"\[mem {_HEX}-{_HEX}\]"
# EFI's kinds of memory that are free once the kernel runs, and their numbers (UEFI specification 2.10, table 7.6).
_EFI_FREE: Final = frozenset(
    (
        *("conventional memory", "loader code", "loader data", "boot code", "boot data"),
        *("conventionalmemory", "loadercode", "loaderdata", "bootservicescode", "bootservicesdata"),
        *("1", "2", "3", "4", "7"),
    )
)


@dataclass(frozen=True)
class Form:
    """A form: its name, the words that announce its lines, and how a range is got out of one."""

    name: str
    hint: re.Pattern[str]  # a line that may be cut off has it
    find: Callable[[str], Found | None]
    heading: re.Pattern[str] | None = None  # begins a map of this form: what came before is an older one


def _form(
    name: str,
    hint: str,
    pattern: str,
    read: Callable[[re.Match[str]], Found | None],
    heading: str | None = None,
) -> Form:
    found = re.compile(pattern, re.IGNORECASE)

    def find(line: str) -> Found | None:
        match = found.search(line)
        return read(match) if match else None

    return Form(
        name,
        re.compile(hint, re.IGNORECASE),
        find,
        re.compile(heading, re.IGNORECASE) if heading else None,
    )


def _inclusive(match: re.Match[str], *, usable: bool = True, domain: int | None = None) -> Found:
    return int(match[1], 16), int(match[2], 16) + 1, domain, usable


def _chunk(match: re.Match[str]) -> Found:
    return _inclusive(match)


def _smap(match: re.Match[str]) -> Found:
    start, length = int(match[2], 16), int(match[3], 16)
    return start, start + length, None, int(match[1], 16) == 1


def _e820(match: re.Match[str]) -> Found:
    return _inclusive(match, usable=match[3].lower().startswith(("usable", "system ram")))


def _e820_old(match: re.Match[str]) -> Found:
    return int(match[1], 16), int(match[2], 16), None, match[3].lower() == "usable"


def _efi_usable(descriptor: str) -> bool:
    """Tell free kinds of memory, but for what is set apart for a purpose of its own (attribute SP)."""
    kind, *attributes = (part.strip().lower() for part in descriptor.split("|"))
    return kind in _EFI_FREE and "sp" not in attributes


def _efi(match: re.Match[str]) -> Found:
    end = int(match[3], 16) + (match[4] == "]")
    return int(match[2], 16), end, None, _efi_usable(match[1])


def _efi_new(match: re.Match[str]) -> Found:
    return int(match[1], 16), int(match[2], 16) + 1, None, _efi_usable(match[3])


def _efi_freebsd(match: re.Match[str]) -> Found:
    start = int(match[2], 16)
    return start, start + int(match[3], 16) * 4096, None, match[1].lower() in _EFI_FREE


def _iomem(match: re.Match[str]) -> Found:
    return _inclusive(match, usable=match[3].lower().startswith("system ram"))


def _node(match: re.Match[str]) -> Found:
    return int(match[2], 16), int(match[3], 16) + 1, int(match[1]), True


def _node_frames(match: re.Match[str]) -> Found:
    return int(match[2], 16) * 4096, int(match[3], 16) * 4096, int(match[1]), True


def _node_old(match: re.Match[str]) -> Found:
    return int(match[2], 16), int(match[3], 16), int(match[1]), True


def _length(match: re.Match[str]) -> Found:
    start = int(match[2], 16)
    return start, start + int(match[3], 16), int(match[1]), True


# Who says it: the firmware, the command line, or what was left when data of the boot loader was set apart.
_E820: Final = r"BIOS-\w+|user(?:-defined)?|modified|Xen|reserve setup_data"
_E820_HEADING: Final = r"physical RAM map:|Xen-e820 RAM map"

# What the kernel manages comes before what firmware says: the first form that a text has is its map.
MAPS: Final = (
    # of sysctl vm.phys_segs, four lines made one by the reader
    _form(
        "vm.phys_segs",
        r"SEGMENT \d+:",
        rf"SEGMENT \d+:\s+start:\s*{_HEX}\s+end:\s*{_HEX}\s+domain:\s*(\d+)",
        lambda match: (int(match[1], 16), int(match[2], 16), int(match[3]), True),
        heading=r"vm\.phys_segs:|SEGMENT 0:",
    ),
    _form(
        "physical memory chunks",
        r"0x[0-9a-f]+ - 0x[0-9a-f]+",
        rf"{_HEX} - {_HEX},\s+\d+ (?:bytes|MB)(?!.*\bNo(?:Alloc|Dump))",
        _chunk,
        heading=r"Physical memory chunk\(s\):",
    ),
    _form(
        "early memory node ranges",
        r"\bnode\s+\d+:",
        rf"(?<!Initmem setup )\bnode\s+(\d+): {_RANGE}",
        _node,
        heading="Early memory node ranges",
    ),
    # Linux before 3.4: numbers of page frames
    _form(
        "early memory node ranges",
        r"\b\d+: 0x[0-9a-f]{8,}",
        r"(?:^|\s)(\d+): 0x([0-9a-f]{8,13}) -> 0x([0-9a-f]{8,13})\b",
        _node_frames,
        heading=r"early_node_map\[\d+\]",
    ),
    _form(
        "/proc/iomem",
        r"^\s*[0-9a-f]{8,16}-[0-9a-f]{8,16} :",
        r"(?:^|\s)([0-9a-f]{8,16})-([0-9a-f]{8,16}) : (System RAM\b.*)",
        _iomem,
    ),
    _form(
        "e820",
        rf"(?:{_E820}): \[mem",
        rf"\b(?:{_E820}): {_RANGE}\s+(usable|\S.*)",
        _e820,
        heading=_E820_HEADING,
    ),
    _form(
        "e820",
        rf"(?:{_E820}): [0-9a-f]|[0-9a-f]{{16}} - ",
        r"\b([0-9a-f]{8,16}) - ([0-9a-f]{8,16}) \(([\w ]+)\)",
        _e820_old,
    ),
    # the hypervisor's own
    _form("e820", r"\[[0-9a-f]{16},", r"\[([0-9a-f]{16}), ([0-9a-f]{16})\] \(([\w ]+)\)", _e820),
    _form(
        "/sys/firmware/memmap",
        r"memmap/\d+/",
        rf"start:{_HEX} end:{_HEX} type:(System RAM|\S.*)",
        _iomem,
    ),
    _form(
        "EFI memory map",
        r"efi: mem\d+:",
        rf"mem\d+: \[?(?:type=)?([^\]]*?)[\],].*?range=\[{_HEX}-{_HEX}([\])])",
        _efi,
        heading=r"efi: mem00:",
    ),
    _form("EFI memory map", r"efi:\s+0x", rf"efi:\s+{_HEX}-{_HEX} \[([^\]]*)\]", _efi_new),
    _form(
        "EFI memory map",
        r"^\s*(?:Loader|BootServices|Conventional)\w+",
        r"\b((?:Loader|BootServices|RuntimeServices|Conventional|Reserved|ACPI|Unusable)\w*)\s+([0-9a-f]{12})\s+"
        r"(?:0x)?[0-9a-f]+\s+([0-9a-f]{8})\b",
        _efi_freebsd,
        heading=r"Type\s+Physical\s+Virtual\s+#Pages",
    ),
    _form(
        "SMAP",
        "SMAP type",
        r"SMAP type=([0-9a-f]{1,8})\s+base=([0-9a-f]{1,16})\s+len=([0-9a-f]{1,16})",
        _smap,
    ),
)

# What kernels take out of the map that they were given.
CHANGES: Final = (
    _form(
        "e820",
        r"e820: (?:update|remove) \[mem",
        rf"e820: (?:update|remove) {_RANGE} (?:usable|System RAM)(?! ==> (?:usable|System RAM))",
        _chunk,
    ),
    _form(
        "e820",
        r"e820 (?:update|remove) range:",
        rf"e820 (?:update|remove) range: {_HEX} - {_HEX} \(usable\)(?! ==> \(usable\))",
        lambda match: (int(match[1], 16), int(match[2], 16), None, True),
    ),
    _form("physical memory chunks", "NoAlloc", rf"{_HEX} - {_HEX},\s+\d+ MB .*\bNoAlloc", _chunk),
)
NO_CHANGE: Final = re.compile(r"e820:? (?:update|remove)\b.*==>", re.IGNORECASE)
"""A line of the same words that changes no memory that counts, and is none."""

# Which domain an address is in.
DOMAINS: Final = (
    _form("SRAT", "memory domain", rf"memory domain (\d+) addr {_HEX} len {_HEX}: enabled", _length),
    _form("SRAT", r"SRAT: Node \d+", rf"Node (\d+) PXM \d+ {_RANGE}", _node),
    _form("SRAT", r"SRAT: Node \d+", r"SRAT: Node (\d+) PXM \d+ ([0-9a-f]+)-([0-9a-f]+)", _node_old),
    _form("node blocks", "node", rf"^node(\d+) block {_HEX} {_HEX}$", _length),
)

NAMES: Final = tuple(dict.fromkeys(form.name for form in MAPS))
