"""Lines of text as people send it, profiles and boot logs: undo what mail programs, web pages and terminals did.

Only what can be undone for certain is undone: quoted-printable, HTML entities and tags, quote marks,
terminal escapes, hard blanks.  Lines that a mail program broke are joined by the readers, which know
where a row may go on.  Line numbers are those of the file as it lies on disk.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

# A longer line is not a line of any profile; the rest of it is not read into memory.
MAX_LINE = 1 << 20

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\ufeff]")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos|nbsp|hellip|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "nbsp": " ", "hellip": "..."}
_TAG_NAMES = (
    "pre|code|samp|tt|kbd|span|font|b|i|em|strong|u|a|table|tbody|thead|td|th"
    "|body|html|head|blockquote|ul|ol|img"
)
_TAG_LIKE = re.compile(r"(?<!\[)</?[a-zA-Z]")
_TAG = re.compile(rf"(?<!\[)</?(?:{_TAG_NAMES})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_BREAK_TAG = re.compile(r"(?<!\[)</?(?:br|p|div|tr|li|h[1-6])(?:\s[^<>]*)?/?>", re.IGNORECASE)
_QUOTE = re.compile(r"^(?:[ \t]*[A-Za-z]{0,4}>)+[ \t]?")
_MARKDOWN = re.compile(r"\\([_*\[\]<>#~|`\-])")
_QP_RUN = re.compile(r"(?:=[0-9A-F]{2})+")
# Without a header that says quoted-printable, decode only what a profile would never hold by itself.
_QP_SURE = re.compile(r"(?:=3D|=20(?=\s*$)|=09|=C2=A0|=A0|=E2=80=[0-9A-F]{2})+")
_QP_HEADER = re.compile(r"^content-transfer-encoding:\s*([\w-]+)", re.IGNORECASE)


def _decode_run(match: re.Match[str]) -> str:
    return _decode(bytes.fromhex(match[0].replace("=", "")))


def _decode(data: bytes) -> str:
    """UTF-8, or else Latin-1, in which every byte is something."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _entity(match: re.Match[str]) -> str:
    name = match[1]
    if not name.startswith("#"):
        return _ENTITIES[name]
    code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    return chr(code) if 32 <= code < 0xD800 else " "


def unmangle(text: str) -> str:
    """One line without quote marks, entities, tags, terminal escapes and markdown escapes.

    A tag that ends a line on a web page becomes a line feed.  Lock names hold `&`, `->` and `[<...>]`
    themselves, so an entity counts only with its semicolon and a tag only by a known name.
    """
    text = _CONTROL.sub("", _ANSI.sub("", text)).replace("\u00a0", " ")
    for _ in range(2):  # a page quoted in a page is escaped twice
        if not _ENTITY.search(text):
            break
        text = _ENTITY.sub(_entity, text)
    if "<" in text:
        text = _TAG.sub("", _BREAK_TAG.sub("\n", text))
    text = _QUOTE.sub("", text)
    return _MARKDOWN.sub(r"\1", text) if "\\" in text else text


def _soft_break(line: str, declared: bool | None) -> bool:
    """Does quoted-printable go on with the next line?  `declared` is what the mail's header said."""
    if not line.endswith("=") or declared is False or not line.strip("=> \t"):
        return False
    return bool(declared) or 60 <= len(line) <= 77


def _clean(text: str) -> bool:
    """Is there surely nothing in this line to undo?  This is asked of every line."""
    return (
        text.isascii()
        and text.isprintable()
        and "=" not in text
        and "\\" not in text
        and (";" not in text or not _ENTITY.search(text))
        and (">" not in text or not _QUOTE.match(text))
        and ("<" not in text or not _TAG_LIKE.search(text))
    )


def clean_lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of every line of the stream, unmangled; holds one line at a time."""
    declared: bool | None = None  # what the mail says of itself: quoted-printable or not
    held, held_number = "", 0
    number = 0
    while raw := stream.readline(MAX_LINE):
        number += 1
        if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
            _skip_rest(stream)
        line = _decode(raw).rstrip("\r\n")
        if not held and _clean(plain := line.expandtabs()):
            if plain[:1] in "CcF":
                declared = _declaration(plain, declared)
            yield number, plain
            continue
        text, first = line, number
        if held:
            quote = _QUOTE.match(held)
            if quote and text.startswith(quote[0]):
                text = text[len(quote[0]) :]
            text, first = held + text, held_number
            held = ""
        if line.endswith("=0A="):  # a line's end, written out, and then a break that is none
            yield from _finished(first, text.removesuffix("=0A="), declared)
            continue
        if _soft_break(line, declared) and len(text) < MAX_LINE:
            held, held_number = text[:-1], first
            continue
        yield from _finished(first, text, declared)
    if held:
        yield from _finished(held_number, held, declared)


def _skip_rest(stream: BinaryIO) -> None:
    while (more := stream.readline(MAX_LINE)) and len(more) == MAX_LINE and not more.endswith(b"\n"):
        pass


def _declaration(line: str, declared: bool | None) -> bool | None:
    if line.startswith("From "):  # the next mail of a mailbox
        return None
    header = _QP_HEADER.match(line)
    return header[1].lower() == "quoted-printable" if header else declared


def _finished(number: int, text: str, declared: bool | None) -> Iterator[tuple[int, str]]:
    if declared is not False and "=" in text:
        text = (_QP_RUN if declared else _QP_SURE).sub(_decode_run, text)
    text = unmangle(text.expandtabs())
    if "\n" not in text:
        yield number, text
        return
    for part in text.removesuffix("\n").split("\n"):
        yield number, unmangle(part)
