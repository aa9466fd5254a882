import bz2
import gzip
import io
import lzma
import sys
from collections.abc import Callable

import pytest

from finegrain.errors import UserError
from finegrain.profile.read import File, read_stream

TEXT = b"9 28 1000 7 500 2 15 0 28420 /usr/src/sys/b.c:6 (rw:a)\n"


def read(data: bytes) -> File:
    return read_stream(io.BufferedReader(io.BytesIO(data)), "sample")


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress])
def test_a_compressed_file_is_what_it_holds(compress: Callable[[bytes], bytes]) -> None:
    (profile,) = read(compress(TEXT)).profiles
    assert profile.table["wait_us"].to_list() == [7.0]
    with pytest.raises(UserError, match=r"^sample: .*(damaged|compressed)"):
        read(compress(TEXT * 100)[:-9])
    with pytest.raises(UserError, match="compressed, and no text within; of a Go profile"):
        read(compress(b"\x0a\x04\x08\x01\x10\x02\x00"))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (gzip.compress(gzip.compress(TEXT)), "compressed twice"),
        (b"PK\x03\x04" + TEXT, "a zip archive"),
        (b"PERFILE2" + TEXT, "'perf lock contention -i FILE'"),
        (b"\x7fELF", "a program"),
        (TEXT.decode().encode("utf-16"), "'iconv -f UTF-16 -t UTF-8 FILE'"),
        (TEXT.replace(b"\n", b"\r") * 3, r"carriage returns alone: \"tr '\\r' '\\n'\""),
    ],
)
def test_what_is_no_text_is_refused_with_what_makes_text_of_it(data: bytes, why: str) -> None:
    with pytest.raises(UserError, match=f"^sample: .*{why}") as refusal:
        read(data)
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="zstd is read")
def test_zstd_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="compressed by zstd; give the output of 'zstd -dc FILE'"):
        read(b"\x28\xb5\x2f\xfd" + TEXT)
