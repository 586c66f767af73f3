"""Whatever happens to the connection: every page ends with the newest value, and never shows an older one after it."""

import pytest

from everfresh.testing.waiting import until
from tests.browser.stage import Stage
from tests.browser.tabs import Person, Tab, opened, wait_for, wait_for_attribute, wait_for_text

pytestmark = [pytest.mark.browser, pytest.mark.uncounted]

ENTRY = '<live-entry topic="a" version="1">one</live-entry>'
SCRIPTED = "/scripted"


def update(topic: str, version: int, html: str, state: str = "fresh") -> dict[str, object]:
    return {"topic": topic, "version": version, "state": state, "html": html, "digest": html}


def scripted(person: Person, stage: Stage, body: str = ENTRY) -> Tab:
    """A page whose updates the test tells."""
    return opened(person, stage.page(body, updates=SCRIPTED, position="e1.1"))


def test_a_restart_of_the_server_loses_nothing(person: Person, stage: Stage) -> None:
    """What changed while it was away is there when it is back."""
    tab = opened(person, stage.page(ENTRY.replace("1", "0")))

    stage.stop()
    wait_for_attribute(tab, "connection", "reconnecting")
    stage.put(a="two")
    stage.start()

    wait_for_text(tab, "live-entry", "two")
    wait_for_attribute(tab, "connection", "live")
    assert stage.streams.n_open == 1


def test_a_broken_stream_is_begun_again_where_it_was(person: Person, stage: Stage) -> None:
    """With the position of the last frame, of every shard."""
    tab = scripted(person, stage)
    stage.call(stage.scripted.tell("heartbeat", {}, "e1.4-f1.9"))
    stage.call(stage.scripted.tell("update", update("a", 2, "two"), "e1.5"))
    wait_for_text(tab, "live-entry", "two")

    stage.call(stage.scripted.cut())

    until(lambda: len(stage.scripted.streams) == 2, what="another stream")
    assert [asked.cursor for asked in stage.scripted.streams] == ["e1.1", "e1.5-f1.9"]


def test_a_goodbye_says_when_to_come_back(visitor: Person, stage: Stage) -> None:
    """At once if it says so; the page says meanwhile that it is not live."""
    tab = scripted(visitor, stage)

    stage.call(stage.scripted.tell("bye", {"retry_ms": 1}))

    until(lambda: len(stage.scripted.streams) == 2, what="another stream")
    wait_for_attribute(tab, "connection", "live")


def test_an_older_version_is_never_drawn_after_a_newer_one(visitor: Person, stage: Stage) -> None:
    """Whatever the order in which they come."""
    tab = scripted(visitor, stage)

    for version, html in ((3, "three"), (2, "two"), (3, "three again")):
        stage.call(stage.scripted.tell("update", update("a", version, html)))
        wait_for_text(tab, "live-entry", "three")
    stage.call(stage.scripted.tell("stale", {"topic": "a", "version": 3, "state": "dirty"}))

    wait_for_attribute(tab, "state", "stale")
    assert tab.run("() => drawn") == ["a"]


def test_a_reset_takes_any_version(visitor: Person, stage: Stage) -> None:
    """Another life of the store counts from one."""
    tab = scripted(visitor, stage)
    stage.call(stage.scripted.tell("update", update("a", 7, "seven"), "e1.7"))
    wait_for_text(tab, "live-entry", "seven")

    stage.call(stage.scripted.tell("reset", {"position": "e2.1"}))
    stage.call(stage.scripted.tell("update", update("a", 1, "first"), "e2.1"))

    wait_for_text(tab, "live-entry", "first")
    stage.call(stage.scripted.cut())
    until(lambda: len(stage.scripted.streams) == 2, what="another stream")
    assert stage.scripted.streams[1].cursor == "e2.1"


def test_a_failed_build_is_told_and_the_last_good_value_stays(visitor: Person, stage: Stage) -> None:
    """The state is an attribute, for the style sheet."""
    tab = scripted(visitor, stage)

    stage.call(stage.scripted.tell("failed", {"topic": "a", "version": 1, "state": "failed"}))

    wait_for_attribute(tab, "state", "failed")
    assert tab.run("() => document.querySelector('live-entry').textContent") == "one"


def test_what_is_revoked_is_marked_and_not_asked_for_again(person: Person, stage: Stage) -> None:
    """The other topics go on."""
    tab = scripted(person, stage, f'{ENTRY}<live-entry topic="b">one</live-entry>')
    assert sorted(stage.scripted.streams[-1].topics) == ["a", "b"]

    stage.call(stage.scripted.tell("revoked", {"topics": ["a"]}))
    wait_for_attribute(tab, "state", "revoked", 'live-entry[topic="a"]')
    stage.call(stage.scripted.cut())

    until(lambda: stage.scripted.streams[-1].topics == ["b"], what="a stream of the other one")
    stage.call(stage.scripted.tell("update", update("b", 2, "two")))
    wait_for_text(tab, 'live-entry[topic="b"]', "two")


def test_access_that_is_taken_away_ends_at_once(person: Person, stage: Stage) -> None:
    """What may not be seen any more is taken off the page, and nothing later of it arrives; the rest goes on."""
    tab = opened(person, stage.page('<live-entry topic="a">one</live-entry><live-entry topic="b">one</live-entry>'))

    stage.revoke("a")
    stage.put(a="secret", b="two")

    wait_for_text(tab, 'live-entry[topic="b"]', "two")
    wait_for_attribute(tab, "state", "revoked", 'live-entry[topic="a"]')
    assert tab.run("() => document.querySelector('live-entry[topic=a]').textContent") == ""
    assert tab.run("() => drawn") == ["b"]


def test_what_is_granted_again_is_drawn_again(visitor: Person, stage: Stage) -> None:
    """The version is the one that was shown before it was taken away."""
    tab = opened(visitor, stage.page(ENTRY, updates=SCRIPTED, position="e1.1"))
    stage.call(stage.scripted.tell("update", update("a", 2, "two"), "e1.5"))
    wait_for_text(tab, "live-entry", "two")
    stage.call(stage.scripted.tell("revoked", {"topics": ["a"]}))
    wait_for_text(tab, "live-entry", "")

    tab.run("() => document.querySelector('live-entry').setAttribute('token', 'new')")
    until(lambda: stage.scripted.streams[-1].query.get("token") == ["new"], what="a stream with the token")
    assert stage.scripted.streams[-1].cursor == "0"
    stage.call(stage.scripted.tell("update", update("a", 2, "two"), "e1.5"))

    wait_for_text(tab, "live-entry", "two")
    wait_for_attribute(tab, "state", "fresh")


def test_a_page_that_asks_for_too_much_gets_the_rest(visitor: Person, stage: Stage) -> None:
    """One topic that is not granted does not take the others with it, in this tab or in another."""
    stage.revoke("a")

    tab = opened(visitor, stage.page('<live-entry topic="a">one</live-entry><live-entry topic="b">one</live-entry>'))

    wait_for_attribute(tab, "state", "revoked", 'live-entry[topic="a"]')
    stage.put(b="two")
    wait_for_text(tab, 'live-entry[topic="b"]', "two")


def test_where_no_stream_comes_through_the_page_polls(person: Person, stage: Stage) -> None:
    """With the same events, and the cursor of the last answer; a stream that is possible again is taken."""
    stage.scripted.stream_status = 503
    stage.scripted.answers.append(
        {"cursor": "e1.5", "events": [{"event": "update", "data": update("a", 2, "two")}], "retry_ms": 500}
    )
    tab = person.tab()
    tab.goto(stage.page(ENTRY, updates=SCRIPTED, position="e1.1"))
    wait_for_text(tab, "live-entry", "two")
    wait_for_attribute(tab, "connection", "polling")
    until(lambda: len(stage.scripted.polls) > 1, what="another question")
    assert [asked.cursor for asked in stage.scripted.polls[:2]] == ["e1.1", "e1.5"]

    stage.scripted.stream_status = 200

    wait_for_attribute(tab, "connection", "live")
    assert stage.scripted.streams[-1].cursor == "e1.5"


def test_who_may_see_nothing_is_told_so_and_asks_no_more(visitor: Person, stage: Stage) -> None:
    """A refusal of all topics is an answer, and no fault of the line."""
    stage.scripted.stream_status = stage.scripted.poll_status = 403
    tab = visitor.tab()

    tab.goto(stage.page(ENTRY, updates=SCRIPTED, position="e1.1"))

    wait_for_attribute(tab, "state", "revoked")
    assert len(stage.scripted.polls) == 1


def test_a_page_without_a_position_asks_for_everything(visitor: Person, stage: Stage) -> None:
    """It shows nothing yet."""
    tab = opened(visitor, stage.page('<live-entry topic="a"></live-entry>', position=""))

    wait_for_text(tab, "live-entry", "one")
    wait_for(tab, "() => document.querySelector('live-entry').version > 0", what="a version")
