"""What is sent is what browsers read. Other parsers are in tests/push."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from everfresh.push.frames import Frame
from tests.browser.stage import Stage
from tests.browser.tabs import Browser, Tab
from tests.push.wires import CUTS, EVENTS, STREAMS, TEXTS, TIMES, long_html, meant_by, pieces_of

pytestmark = [pytest.mark.browser, pytest.mark.uncounted]

# It closes the stream at its end: a browser would ask again, and for ever.
READ = """(events) => new Promise((resolve) => {
    const found = [];
    const source = new EventSource("/pieces");
    const take = ({ type, lastEventId, data }) => found.push([type, lastEventId, data]);
    for (const event of events) source.addEventListener(event, take);
    source.onerror = () => { source.close(); resolve(found); };
})"""


@pytest.fixture(scope="module", params=["chromium", "debians_firefox"], ids=["chromium", "firefox"])
def reader(request: pytest.FixtureRequest, shared_stage: Stage) -> Iterator[Tab]:
    """One page of each of the browsers, for all streams."""
    browser: Browser = request.getfixturevalue(request.param)
    person = browser.person()
    tab = person.tab()
    tab.goto(shared_stage.page(""))
    yield tab
    person.close()


@given(STREAMS, CUTS)
def test_no_text_and_no_cut_changes_what_is_read(
    reader: Tab, shared_stage: Stage, frames: list[Frame], cuts: list[float]
) -> None:
    """Each frame is one event, with its id and its data to the letter, whatever is in it and wherever it was cut."""
    shared_stage.pieces = pieces_of(frames, cuts)

    assert reader.run(READ, EVENTS) == meant_by(frames)


@settings(max_examples=10)
@given(TEXTS, TIMES, CUTS)
def test_no_length_does_either(reader: Tab, shared_stage: Stage, text: str, n: int, cuts: list[float]) -> None:
    """One event, though it fills every buffer on its way; and the next begins where it ends."""
    frames = long_html(text, n)
    shared_stage.pieces = pieces_of(frames, cuts)

    # Not compared by assert: to say how megabytes differ takes minutes.
    is_right = reader.run(READ, EVENTS) == meant_by(frames)
    assert is_right
