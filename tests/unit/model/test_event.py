import pytest

from everfresh.model.errors import InvalidEvent
from everfresh.model.event import MAX_TOPIC_BYTES, Event, Row


@pytest.mark.parametrize("topic", ["a", "bugzilla.bug.update", "org.fedoraproject.prod.build-1_2", "größe.änderung"])
def test_a_topic_is_dotted_words(topic: str) -> None:
    """Whatever a bus carries as a routing key is a topic."""
    assert Event(topic).topic == topic


@pytest.mark.parametrize(
    "topic", ["", ".", "a.", ".a", "a..b", "a b", "a\n", "a.*", "#", "a\ud800", "a\x1b", "a\u200b", None, 7]
)
def test_what_is_no_topic_is_refused(topic: object) -> None:
    """A pattern never meets such a topic, so the event would be lost in silence."""
    with pytest.raises(InvalidEvent, match="topic"):
        Event(topic)  # type: ignore[arg-type]


def test_a_topic_fits_through_every_bus() -> None:
    """AMQP counts bytes, not letters."""
    longest = "ä" * (MAX_TOPIC_BYTES // 2) + "a"

    assert Event(longest).topic == longest
    with pytest.raises(InvalidEvent, match="255 bytes"):
        Event(longest + "a")


@pytest.mark.parametrize("body", [None, [], "text"], ids=repr)
def test_a_body_that_is_no_mapping_is_refused(body: object) -> None:
    """Fields are read out of it by name."""
    with pytest.raises(InvalidEvent, match=r"event a: the body is .*Use a mapping"):
        Event("a", body)  # type: ignore[arg-type]


def test_events_do_not_share_what_they_leave_out() -> None:
    """Who fills the body of one event changes no other."""
    first, second = Event("a"), Event("a")

    assert first.body is not second.body
    assert first.headers is not second.headers


@pytest.mark.parametrize(
    ("before", "after", "topic"),
    [
        (None, {"id": 1}, "article.create"),
        ({"id": 1}, {"id": 1}, "article.update"),
        ({"id": 1}, None, "article.delete"),
    ],
    ids=["create", "update", "delete"],
)
def test_a_change_says_by_its_images_what_happened(
    before: dict[str, int] | None, after: dict[str, int] | None, topic: str
) -> None:
    """A row without an image before was created, one without an image after deleted."""
    event = Event.change("article", before=before, after=after)

    assert event == Event(topic, {"before": before, "after": after}, row=Row("article", before, after))


def test_a_change_may_name_fields_instead_of_images() -> None:
    """A bulk update is one event, whatever the number of rows."""
    event = Event.change("article", changed=iter(["title", "body", "author", "slug", "date", "views"]))

    names = ["author", "body", "date", "slug", "title", "views"]
    assert event.topic == "article.update"
    assert event.body == {"before": None, "after": None, "changed": names}
    assert event.row == Row("article", changed=frozenset(names), unknown=False)


def test_a_change_with_fields_and_one_image_is_an_update() -> None:
    """An image that is missing is then unknown, and does not say that there was no row."""
    assert Event.change("article", after={"id": 1}, changed=["title"]).topic == "article.update"


def test_a_change_of_nothing_is_refused() -> None:
    """Somebody forgot an argument; Event.unknown is there for those who do not know."""
    with pytest.raises(InvalidEvent, match=r"Event\.unknown"):
        Event.change("article")


@pytest.mark.parametrize("name", ["before", "after"])
def test_an_image_that_is_no_mapping_is_refused(name: str) -> None:
    """It is refused where it was made, not in the middle of triage."""
    images: dict[str, list[int]] = {name: [1]}

    with pytest.raises(InvalidEvent, match=f"event article: {name} is list"):
        Event.change("article", **images)  # type: ignore[arg-type]


def test_changed_fields_as_one_text_are_refused() -> None:
    """A text would be read as the set of its letters, and nobody who watches the field would hear of it."""
    with pytest.raises(InvalidEvent, match=r"changed=\['title'\]"):
        Event.change("article", changed="title")


def test_an_unknown_change_names_only_the_type() -> None:
    """A truncate has no rows to show."""
    assert Event.unknown("article") == Event("article.unknown", row=Row("article", unknown=True))


@pytest.mark.parametrize("type_", ["", "a b", "a*"])
def test_a_type_has_to_fit_into_a_topic(type_: str) -> None:
    """The event of a row carries its type in its topic."""
    with pytest.raises(InvalidEvent, match="malformed"):
        Event.unknown(type_)
