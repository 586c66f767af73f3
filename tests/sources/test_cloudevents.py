import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh import Event
from everfresh.sources.cloudevents import binary_event, structured_event
from everfresh.sources.messages import Malformed

WHOLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "17",
    "source": "/tracker",
    "type": "tracker.issue.update",
    "time": "2026-01-01T00:00:00Z",
    "partitionkey": "design",
    "data": {"issue": {"key": "D-1"}},
}
HEADERS = {f"ce-{name}": value for name, value in WHOLE.items() if name != "data"}
BODY = b'{"issue": {"key": "D-1"}}'
EXPECTED = Event(
    "tracker.issue.update",
    {"issue": {"key": "D-1"}},
    id="17",
    headers={"source": "/tracker", "time": "2026-01-01T00:00:00Z", "partitionkey": "design"},
)
JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.text())
)


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def test_both_forms_say_the_same() -> None:
    """Type, data and id make the event; what else is known becomes headers."""
    assert structured_event(WHOLE) == EXPECTED
    assert binary_event({**HEADERS, "content-type": "application/json"}, BODY) == EXPECTED


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("value", [None, "", 7], ids=["missing", "empty", "number"])
def test_a_required_attribute_is_never_made_up(name: str, value: object) -> None:
    """An id that is made up here would make each retry another event."""
    wrong = without(WHOLE, name) if value is None else {**WHOLE, name: value}

    with pytest.raises(Malformed, match=f"^{name}: ") as caught:
        structured_event(wrong)

    assert caught.value.at == name


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("value", [None, ""], ids=["missing", "empty"])
def test_a_required_header_is_named_as_the_sender_knows_it(name: str, value: str | None) -> None:
    """It is a header there."""
    headers = without(HEADERS, f"ce-{name}") if value is None else {**HEADERS, f"ce-{name}": value}

    with pytest.raises(Malformed) as caught:
        binary_event(headers, BODY)

    assert caught.value.at == f"ce-{name}"


@pytest.mark.parametrize("version", ["0.3", "1", "2.0"])
def test_another_version_is_refused(version: str) -> None:
    """Its attributes mean something else."""
    with pytest.raises(Malformed, match="specversion: "):
        structured_event({**WHOLE, "specversion": version})


@pytest.mark.parametrize("topic", ["a b", "a..b", "a.*", "#", "x" * 256])
def test_a_type_that_is_no_topic_is_refused(topic: str) -> None:
    """It would match nothing, or everything."""
    with pytest.raises(Malformed) as caught:
        structured_event({**WHOLE, "type": topic})

    assert caught.value.at == "type"


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("data", "body"),
    [({}, {}), ({"data": None}, {}), ({"data": {}}, {}), ({"data_base64": encoded(BODY)}, EXPECTED.body)],
    ids=["none", "null", "empty", "base64"],
)
def test_data_may_be_left_out_or_encoded(data: dict[str, Any], body: dict[str, Any]) -> None:
    """A type alone says that something happened."""
    assert structured_event({**without(WHOLE, "data"), **data}).body == body


@pytest.mark.parametrize(
    ("data", "at"),
    [
        ({"data": "text"}, "data"),
        ({"data": [1]}, "data"),
        ({"data": 0}, "data"),
        ({"data": {}, "data_base64": encoded(b"{}")}, "data_base64"),
        ({"data_base64": "?"}, "data_base64"),
        ({"data_base64": "é"}, "data_base64"),
        ({"data_base64": 7}, "data_base64"),
        ({"data_base64": encoded(b"<xml/>")}, "data_base64"),
        ({"data_base64": encoded(b"[]")}, "data_base64"),
    ],
)
def test_data_that_has_no_fields_is_refused(data: dict[str, Any], at: str) -> None:
    """Dependencies name fields, so there must be some to name."""
    with pytest.raises(Malformed) as caught:
        structured_event({**without(WHOLE, "data"), **data})

    assert caught.value.at == at


def test_a_binary_event_may_have_no_body() -> None:
    """As a structured one may have no data."""
    assert binary_event(HEADERS, b"").body == {}


@pytest.mark.parametrize("body", [b"[]", b"<xml/>", b"\xff"])
def test_a_binary_body_without_fields_is_refused(body: bytes) -> None:
    """As above."""
    with pytest.raises(Malformed):
        binary_event(HEADERS, body)


def test_headers_are_percent_encoded() -> None:
    """So the HTTP binding has it."""
    assert binary_event({**HEADERS, "ce-subject": "caf%C3%A9 %22x%22"}, BODY).headers["subject"] == 'café "x"'
    with pytest.raises(Malformed, match="ce-subject: "):
        binary_event({**HEADERS, "ce-subject": "%FF"}, BODY)


@given(st.recursive(JSON, lambda inner: st.dictionaries(st.sampled_from([*WHOLE, "data_base64"]), inner)))
def test_whatever_is_sent_is_an_event_or_malformed(message: object) -> None:
    """No sender can cause another error."""
    try:
        structured_event(message)
    except Malformed as error:
        assert str(error)  # noqa: PT017 - an event is as good an outcome
