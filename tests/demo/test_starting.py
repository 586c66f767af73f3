"""Starting and judging: what goes wrong is said in one line."""

from typing import cast

import pytest
from starlette.applications import Starlette

from everfresh.demo import DemoSettings, run_once
from everfresh.demo.child import tracker_process
from everfresh.demo.once import EXPECTED, Trip, judged
from everfresh.demo.server import NotStarted, PortInUse, Server, listen, serving


async def nothing_to_drain() -> None:
    """There are no streams."""


async def test_a_tracker_that_ends_while_starting_is_an_error() -> None:
    """It has said why by itself; here, that its delay is no number."""
    with pytest.raises(NotStarted, match="ended while starting"):
        async with tracker_process(delay_s=cast("float", "long"), webhook="http://127.0.0.1:9/events"):
            pytest.fail("it has started")


async def test_an_application_that_fails_while_starting_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the reason; the port is free again."""

    def lifespan(_: Starlette) -> None:
        raise ZeroDivisionError

    listener = listen(0)
    port: int = listener.getsockname()[1]
    with pytest.raises(NotStarted):
        async with serving(Server(Starlette(lifespan=lifespan), drain=nothing_to_drain), listener):  # type: ignore[arg-type]
            pytest.fail("it has started")
    listener.close()

    assert "ZeroDivisionError" in caplog.text
    listen(port).close()


def test_a_port_is_taken_once() -> None:
    """The error says which, and what to do."""
    with listen(0) as listener:
        port: int = listener.getsockname()[1]

        with pytest.raises(PortInUse, match=f"port {port}: .* Use another one"):
            listen(port)


def test_a_store_that_cannot_be_used_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was started, so nothing has to be ended."""
    assert run_once(DemoSettings(store="nowhere:")) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert "nowhere" in line


def test_exactly_the_expected_widgets_make_a_good_trip(capsys: pytest.CaptureFixture[str]) -> None:
    """Its stages are printed with their times."""
    trip = Trip(stages={"first": 0.5}, changed=set(EXPECTED))

    assert judged(trip) == 0
    assert "0.500 s  first" in capsys.readouterr().out


@pytest.mark.parametrize("changed", [set[str](), EXPECTED | {"flow"}], ids=["too few", "too many"])
def test_any_other_widgets_make_a_bad_one(changed: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What changed and what should have is said."""
    assert judged(Trip(changed=set(changed))) == 1
    assert "These should have: activity, reviews-jonas, reviews-mira." in capsys.readouterr().err
