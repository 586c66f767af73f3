"""How many streams one user, one address and all together may have open, and how often they may poll."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import pytest

from everfresh import InvalidOption
from everfresh.asgi import Request
from everfresh.push.limits import Counted, Limits, Polls, TooMany


def request(host: str = "192.0.2.1", **headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request("GET", pairs, client=(host, 1))


@contextmanager
def stream(counted: Counted, asking: Request, user: str = "") -> Generator[None]:
    with counted.open(asking) as place:
        place.of(user)
        yield


def test_a_user_has_so_many_streams_and_gets_one_back_when_one_ends() -> None:
    """Wherever that user comes from; others are not concerned."""
    counted = Counted(Limits(per_user=2))
    with ExitStack() as open_ones:
        open_ones.enter_context(stream(counted, request("192.0.2.1"), "ann"))
        with stream(counted, request("192.0.2.2"), "ann"):
            with pytest.raises(TooMany, match="2 streams are open from one user"), stream(counted, request(), "ann"):
                pass
            open_ones.enter_context(stream(counted, request(), "bob"))
        open_ones.enter_context(stream(counted, request("192.0.2.3"), "ann"))


def test_an_address_has_so_many_streams() -> None:
    """Of IPv6 its network, as one household has billions of addresses."""
    counted = Counted(Limits(per_address=1))

    with stream(counted, request("2001:db8::1")):
        with pytest.raises(TooMany, match="from one address"), stream(counted, request("2001:db8::2"), "ann"):
            pass
        with stream(counted, request("2001:db8:1::1")):
            pass


def test_a_stream_counts_before_anybody_is_asked_whose_it_is() -> None:
    """Or strangers could have any number of questions asked at once."""
    counted = Counted(Limits(per_address=1))

    with counted.open(request()), pytest.raises(TooMany):
        counted.open(request())


def test_behind_a_proxy_its_header_says_the_address() -> None:
    """All come from the proxy's own address otherwise."""
    counted = Counted(Limits(per_address=1, header="X-Real-IP"))

    with stream(counted, request("10.0.0.1", x_real_ip="192.0.2.1")):
        with stream(counted, request("10.0.0.1", x_real_ip="192.0.2.2")):
            pass
        with pytest.raises(TooMany), stream(counted, request("10.0.0.2", x_real_ip="192.0.2.1")):
            pass


def test_all_together_have_so_many_streams() -> None:
    """Whoever they are."""
    counted = Counted(Limits(in_all=1))

    with (
        stream(counted, request("192.0.2.1")),
        pytest.raises(TooMany, match="open here"),
        stream(counted, request("192.0.2.2")),
    ):
        pass


def test_nothing_is_remembered_of_who_has_none_open() -> None:
    """Or strangers would fill the memory, refused or not."""
    counted = Counted(Limits(per_address=1, per_user=1))
    for n in range(1, 100):
        with (
            stream(counted, request(f"192.0.2.{n}"), f"user{n}"),
            pytest.raises(TooMany),
            stream(counted, request(f"192.0.3.{n}"), f"user{n}"),
        ):
            pass

    assert len(counted) == 0


def n_polls(polls: Polls, *, from_s: float, for_s: float, every_s: float, user: str = "") -> int:
    """How many of those are let in."""
    n_let_in = 0
    for n in range(round(for_s / every_s)):
        now = from_s + n * every_s
        try:
            polls.come(request(), now)
            polls.come_as(user, now)
        except TooMany:
            continue
        n_let_in += 1
    return n_let_in


def test_who_polls_a_hundred_times_a_second_is_let_in_as_often_as_tabs_would_poll() -> None:
    """One poll in four seconds for each stream that the user may have; a burst before it."""
    polls = Polls(Limits(per_user=20))

    n_first = n_polls(polls, from_s=0, for_s=60, every_s=0.01, user="ann")
    n_later = n_polls(polls, from_s=60, for_s=60, every_s=0.01, user="ann")

    assert n_first <= 20 + 100 + 60 / 4 * 20 + 1
    assert 60 / 4 * 20 - 1 <= n_later <= 60 / 4 * 20 + 1


def test_tabs_that_poll_as_they_are_told_are_always_let_in() -> None:
    """As many as there may be streams."""
    polls = Polls(Limits(per_user=20))

    assert n_polls(polls, from_s=0, for_s=600, every_s=4 / 20, user="ann") == 600 / 4 * 20


def test_a_poll_that_comes_too_soon_is_told_when_to_come() -> None:
    """Then it is let in; who comes sooner does not make it later."""
    polls = Polls(Limits(per_address=1))
    while True:
        try:
            polls.come(request(), 0)
        except TooMany as error:
            wait_s = error.wait_s
            break
    with pytest.raises(TooMany, match="from one address"):
        polls.come(request(), 0.5)

    polls.come(request("192.0.2.2"), 0.5)
    polls.come(request(), wait_s)


def test_of_who_polls_a_bounded_number_is_remembered() -> None:
    """Addresses are free to whoever forges them; and who may poll as often as ever is forgotten."""
    polls = Polls(Limits())
    for n in range(11_000):
        polls.come(request(f"10.0.{n // 256}.{n % 256}"), 0)
    n_at_once = len(polls)

    polls.come(request(), 60)

    assert n_at_once == 10_000
    assert len(polls) == 2


@pytest.mark.parametrize("options", [{"per_user": 0}, {"per_address": -1}, {"in_all": 0}, {"header": " "}])
def test_limits_that_let_nobody_in_are_refused(options: dict[str, int]) -> None:
    """With the option's name."""
    with pytest.raises(InvalidOption, match=next(iter(options))):
        Limits(**options)  # type: ignore[arg-type]
