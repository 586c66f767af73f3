"""What is sent is what is read, by parsers that others wrote. Browsers have theirs in tests/browser."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from everfresh.push.frames import Frame
from tests.push.parsing import NpmParsers, npm_parsers, parsed_by_httpx2, parsed_by_httpx_sse
from tests.push.wires import CUTS, STREAMS, TEXTS, TIMES, Parsed, long_html, meant_by, pieces_of


@pytest.fixture(scope="module")
def npm() -> Iterator[NpmParsers]:
    """Those of npm."""
    with npm_parsers() as parsers:
        yield parsers


def parsed_by_all(npm: NpmParsers, pieces: list[bytes]) -> dict[str, Parsed]:
    """What each parser makes of the stream."""
    return npm.parsed(pieces) | {"httpx-sse": parsed_by_httpx_sse(pieces), "httpx2": parsed_by_httpx2(pieces)}


@given(STREAMS, CUTS)
def test_no_text_and_no_cut_changes_what_is_read(npm: NpmParsers, frames: list[Frame], cuts: list[float]) -> None:
    """Each frame is one event, with its id and its data to the letter, whatever is in it and wherever it was cut."""
    for name, parsed in parsed_by_all(npm, pieces_of(frames, cuts)).items():
        assert parsed == meant_by(frames), name


@settings(max_examples=10)
@given(TEXTS, TIMES, CUTS)
def test_no_length_does_either(npm: NpmParsers, text: str, n: int, cuts: list[float]) -> None:
    """One event, though it fills every buffer on its way; and the next begins where it ends."""
    frames = long_html(text, n)

    # Not compared by assert: to say how megabytes differ takes minutes.
    wrong = [name for name, parsed in parsed_by_all(npm, pieces_of(frames, cuts)).items() if parsed != meant_by(frames)]
    assert wrong == []
