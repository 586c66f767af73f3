"""URLs of sources: what they say, what they must not say, and whom they name."""

import subprocess
import sys
from datetime import timedelta

import pytest

from everfresh import InvalidOption
from everfresh.sources.addresses import SourceUrl, scrubbed, told
from everfresh.sources.urls import source_of


def test_a_url_is_taken_apart() -> None:
    """User and password are unquoted; the path has no slash before it."""
    url = SourceUrl("amqps://me:p%40ss@host:5671/v%2Fhost?a=1")

    assert (url.scheme, url.user, url.password, url.host, url.port) == ("amqps", "me", "p@ss", "host", 5671)
    assert url.path == "v/host"
    assert SourceUrl("nats://a:1,b:2").port is None
    assert SourceUrl("nats://a:1,b:2").authority == "a:1,b:2"


def test_a_url_is_shown_without_its_password() -> None:
    """Nor are its parameters, of which one may be a secret."""
    url = SourceUrl("amqp://me:secret@host:5672/v?token=x")

    assert str(url.without_password).endswith("//me@host:5672/v")
    assert "secret" not in repr(url)


def test_a_user_without_a_password_is_not_shown() -> None:
    """It may be a token, as NATS takes them."""
    for url in ("nats://s3cretTOKEN@host/ORDERS", "redis+stream://:secret@host/ORDERS"):
        assert SourceUrl(url).without_password == f"{url.partition(':')[0]}://host/ORDERS"


@pytest.mark.parametrize("url", ["", "host", "amqp:host", "amqp://me:secret@host:port/", "amqp://me:secret@[::"])
def test_what_is_no_url_is_refused_without_a_word_of_it(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(InvalidOption, match="no URL") as caught:
        SourceUrl(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_parameters_are_taken_by_whoever_knows_them() -> None:
    """As texts, numbers, flags and durations; None for what is not there."""
    url = SourceUrl("x://h?a=b&n=7&yes=true&no=0&d=1.5m&s=30&ms=500ms&l=1&l=2&q=a%20b")

    assert (url.take("a"), url.take("q"), url.take("z")) == ("b", "a b", None)
    assert (url.take_number("n"), url.take_number("z")) == (7, None)
    assert (url.take_flag("yes"), url.take_flag("no"), url.take_flag("z")) == (True, False, None)
    assert url.take_duration("d") == timedelta(seconds=90)
    assert (url.take_duration("s"), url.take_duration("ms")) == (timedelta(seconds=30), timedelta(milliseconds=500))
    assert (url.take_all("l"), url.take_all("z")) == (("1", "2"), ())
    assert url.take_duration("z") is None
    url.check_taken()


@pytest.mark.parametrize("query", ["n=-1", "n=x", "n=", "n=1&n=2", "n=%C2%B2", "f=maybe", "d=1w", "d=-1s"])
def test_a_parameter_that_cannot_hold_is_refused(query: str) -> None:
    """By its name, and with what it should be."""
    url = SourceUrl(f"amqp://me:secret@h?{query}")
    take = {"n": url.take_number, "f": url.take_flag, "d": url.take_duration}[query[0]]

    with pytest.raises(InvalidOption, match=f"source amqp://me@h: {query[0]} ") as caught:
        take(query[0])
    assert "secret" not in str(caught.value)


def test_patterns_stay_as_they_are_written() -> None:
    """A `+` is no blank, and what is escaped is meant; what follows a `#` would be lost, so that is refused."""
    url = SourceUrl("mqtt://host?topic=shop/+/price&topic=shop/%23")
    assert url.take_all("topic") == ("shop/+/price", "shop/#")
    with pytest.raises(InvalidOption, match="Write %23"):
        SourceUrl("mqtt://host?client_id=a&topic=shop/#&share=x")


def test_a_parameter_that_nobody_knows_is_refused() -> None:
    """It would be taken for an option that holds."""
    with pytest.raises(InvalidOption, match="nothing here is called prefetc"):
        SourceUrl("x://h?prefetc=5").check_taken()


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("cannot reach amqp://me:secret@host/ now", "cannot reach amqp://me:***@host/ now"),
        ("redis://:p/w:x@h@host", "redis://:***@host"),
        ("cannot reach nats://s3cretTOKEN@host, nats://other@h", "cannot reach nats://***@host, nats://***@h"),
        ("nothing: here @ all", "nothing: here @ all"),
    ],
)
def test_passwords_of_urls_are_taken_out_of_texts(text: str, safe: str) -> None:
    """Drivers put them into their errors."""
    assert scrubbed(text) == safe
    assert told(OSError(text)) == f"OSError: {safe}"


def test_an_error_is_told_in_one_line() -> None:
    """Whatever it says, or does not say."""
    assert told(ValueError("a\nb")) == "ValueError: a"
    assert told(TimeoutError()) == "TimeoutError"


def test_a_scheme_that_nobody_knows_is_refused() -> None:
    """With those that are known."""
    with pytest.raises(InvalidOption, match=r"none for 'kafka'. There are amqp://, amqps://, "):
        source_of("kafka://me:secret@host")


@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [
        ("amqp://h/v?queue=q", "aio_pika", "amqp"),
        ("redis+stream://h/0/s?group=g", "redis", "redis"),
        ("nats://h?stream=s", "nats", "nats"),
        ("mqtt://h?topic=t", "paho", "mqtt"),
    ],
)
def test_a_driver_that_is_not_installed_is_named(url: str, driver: str, extra: str) -> None:
    """With the extra that brings it; nobody needs another's."""
    code = f"""
import sys
sys.modules[{driver!r}] = None
from everfresh.sources.urls import source_of
try:
    source_of({url!r})
except ValueError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert f"Run: pip install 'everfresh[{extra}]'" in said
