"""Templates, the form and the settings."""

from typing import Any

import pytest

from everfresh.demo import DemoSettings, forms, views
from everfresh.demo.forms import Asked


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.44, "1.4 s"), (12.0, "12.0 s"), (0.24, "240 ms"), (0.0031, "3.1 ms")],
    ids=["seconds", "many", "milliseconds", "few"],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    """Two digits are enough."""
    assert views.duration(seconds) == text


def test_every_value_is_escaped() -> None:
    """A title is text, whatever it looks like."""
    issue = {
        "key": "DES-1",
        "title": "<script>alert(1)</script>",
        "component": "<b>",
        "author": '"><img src=x onerror=alert(1)>',
        "priority": "low",
    }
    entry = {"built_at": 0.0, "build_s": 1.0, "version": 1}

    html = views.html("widgets/issues.html", value=[issue], entry=entry)

    assert "<script" not in html
    assert "<b>" not in html
    assert "<img" not in html


def test_fields_left_as_they_are_are_not_asked_for() -> None:
    """An empty choice changes nothing."""
    asked = forms.asked_of(b"key=DES-1&reviewer=jonas&state=&comment=+Well+done+&other=x")

    assert asked == Asked(key="DES-1", fields={"reviewer": "jonas"}, comment="Well done")


def test_a_body_that_is_no_form_asks_for_nothing() -> None:
    """The tracker then says what is missing."""
    assert forms.asked_of(b"\xff\xfe{}") == Asked(key="", fields={}, comment="")


@pytest.mark.parametrize(
    "settings",
    [
        {"port": -1},
        {"port": 70_000},
        {"upstream_delay": -1.0},
        {"upstream_delay": float("nan")},
        {"autopilot_every_s": 0.0},
        {"deadline_s": 0.0},
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_refused_by_name(settings: dict[str, Any]) -> None:
    """The message says what would fit."""
    (field,) = settings
    with pytest.raises(ValueError, match=f"^{field}: .*Use"):
        DemoSettings(**settings)
