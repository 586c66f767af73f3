"""Values of a command line."""

from datetime import timedelta

import click
import pytest

from everfresh.cli.commands import run
from everfresh.cli.parameters import duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("0.5", 0.5), ("250ms", 0.25), ("1.5m", 90), ("2h", 7200), ("1d", 86400)],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    """Without one it is in seconds."""
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1 s", "5w", "nan", "1e3", "9" * 12 + "d", "9" * 400])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """As one is that is longer than Python has; how one is written is said."""
    with pytest.raises(click.BadParameter, match="Write 30s, 5m or 1h"):
        duration(text)


@pytest.mark.parametrize("arguments", [["record", "amqp://h/?queue=a", "x", "--seconds"], ["demo", "--upstream-delay"]])
def test_nan_is_no_number_of_seconds(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No range refuses it by itself."""
    assert run([*arguments, "nan"]) == 2
    assert "nan is no number" in capsys.readouterr().err
