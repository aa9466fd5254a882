"""Files that are no text: compressed ones are opened, others are refused with what makes text of them."""

import bz2
import gzip
import importlib
import lzma
import zlib
from io import BufferedReader
from typing import Any, cast

from finegrain.errors import UserError

# First bytes (RFC 1952, RFC 8878, the formats' own documents) -> what is known by them.
_GZIP, _XZ, _BZIP2, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd"
_REFUSED = {
    b"PK\x03\x04": "a zip archive: unpack it (unzip) and give what is in it",
    b"PERFILE2": "perf's own recording: give what 'perf lock contention -i FILE' or 'perf lock report -i FILE' prints",
    b"\x7fELF": "a program, not a profile",
    b"\xff\xfe": "UTF-16: 'iconv -f UTF-16 -t UTF-8 FILE' makes text of it",
    b"\xfe\xff": "UTF-16: 'iconv -f UTF-16 -t UTF-8 FILE' makes text of it",
}
# How much of a file is looked at.
_HEAD = 4096

# What reading from a damaged compressed file may raise.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)


def opened(stream: BufferedReader, source: str) -> BufferedReader:
    """The stream, or what it holds if it is compressed; raises UserError for what is no text."""
    head = stream.peek(_HEAD)[:_HEAD]
    inner: Any = None
    if head.startswith(_GZIP):
        inner = gzip.GzipFile(fileobj=stream)
    elif head.startswith(_XZ):
        inner = lzma.LZMAFile(stream)  # noqa: SIM115  (the stream is the caller's)
    elif head.startswith(_BZIP2) and head[3:4].isdigit():
        inner = bz2.BZ2File(stream)
    elif head.startswith(_ZSTD):
        inner = _zstd(stream, source)
    if inner is None:
        _refuse(head, source)
        return stream
    text = BufferedReader(cast(Any, inner))
    try:
        head = text.peek(_HEAD)[:_HEAD]
    except DAMAGED as error:
        raise UserError(f"{source}: a compressed file that is damaged: {error}") from None
    if head.startswith((_GZIP, _XZ, _ZSTD)):
        raise UserError(f"{source}: compressed twice; undo it once")
    if b"\x00" in head or head.startswith((b"\x0a\x04", b"\x0a\x06", b"\x0a\x08")):
        raise UserError(
            f"{source}: compressed, and no text within; of a Go profile give the output of 'go tool pprof -text FILE'"
        )
    _refuse(head, source)
    return text


def _zstd(stream: BufferedReader, source: str) -> Any:
    try:
        return importlib.import_module("compression.zstd").ZstdFile(stream)  # from Python 3.14 on
    except ImportError:
        raise UserError(f"{source}: compressed by zstd; give the output of 'zstd -dc FILE'") from None


def _refuse(head: bytes, source: str) -> None:
    for magic, what in _REFUSED.items():
        if head.startswith(magic):
            raise UserError(f"{source}: {what}")
    if head.count(b"\r") > 2 and b"\n" not in head:
        raise UserError(
            f"{source}: its lines end in carriage returns alone: \"tr '\\r' '\\n'\" makes text of it"
        )
