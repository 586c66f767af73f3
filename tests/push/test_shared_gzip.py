import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.push.shared_gzip import HEAD, Checksum, block_of, is_accepted


@given(st.lists(st.binary(max_size=300)))
def test_blocks_in_any_order_make_a_whole_file(texts: list[bytes]) -> None:
    """Each was compressed by itself, and the end tells that nothing is missing."""
    checksum = Checksum()
    for text in texts:
        checksum.add(text)

    packed = HEAD + b"".join(map(block_of, texts)) + checksum.end()

    assert gzip.decompress(packed) == b"".join(texts)


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1))
def test_what_has_arrived_can_be_read(texts: list[bytes]) -> None:
    """Nobody waits for the next event to read this one."""
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert reader.decompress(HEAD) == b""

    for text in texts:
        assert reader.decompress(block_of(text)) == text


@pytest.mark.parametrize(
    ("header", "is_so"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br, zstd", False),
        ("gzipped", False),
    ],
)
def test_gzip_is_sent_to_who_takes_it(header: str, is_so: bool) -> None:
    """By the client's word."""
    assert is_accepted(header) is is_so
