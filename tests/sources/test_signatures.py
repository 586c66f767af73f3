from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from everfresh import InvalidOption
from everfresh.sources.signatures import GitHub, SharedSecret, StandardWebhooks, Unverified, Verifier
from tests.sources.signing import GITHUB_SECRETS, KEYS, NOW, SECRETS, github_headers, standard_headers

BODY = b'{"topic": "a"}'


def is_accepted(verifier: Verifier, headers: dict[str, str], body: bytes = BODY, *, now: float = NOW) -> bool:
    try:
        verifier.verify(headers, body, now=now)
    except Unverified as error:
        return error.at not in verifier.header_names
    return True


def test_the_example_of_standard_webhooks_is_accepted() -> None:
    """As its own libraries are tested: this secret, this message, this signature."""
    verifier = StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    assert is_accepted(verifier, headers, b'{"test": 2432232314}', now=1614265330)
    assert not is_accepted(verifier, headers, b'{"test": 2432232315}', now=1614265330)


def test_the_example_of_github_is_accepted() -> None:
    """From its page on validating deliveries."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert is_accepted(GitHub("It's a Secret to Everybody"), {"x-hub-signature-256": signature}, b"Hello, World!")
    assert not is_accepted(GitHub("It's a Secret to Everybody"), {"x-hub-signature-256": signature}, b"Hello, World?")


@pytest.mark.parametrize("key", KEYS)
def test_any_of_the_keys_may_sign(key: bytes) -> None:
    """While a sender changes over from one to the other."""
    assert is_accepted(StandardWebhooks(*SECRETS), standard_headers(BODY, key=key))


@pytest.mark.parametrize("secret", GITHUB_SECRETS)
def test_any_of_the_secrets_may_sign_for_github(secret: str) -> None:
    """As above."""
    assert is_accepted(GitHub(*GITHUB_SECRETS), github_headers(BODY, secret))


def test_a_key_that_was_taken_away_signs_nothing() -> None:
    """That is what the change is for."""
    assert not is_accepted(StandardWebhooks(SECRETS[1]), standard_headers(BODY, key=KEYS[0]))
    assert not is_accepted(GitHub(GITHUB_SECRETS[1]), github_headers(BODY, GITHUB_SECRETS[0]))


def test_one_of_several_signatures_is_enough() -> None:
    """A sender that changes its key signs with both; other versions are passed over."""
    headers = standard_headers(BODY)
    other = standard_headers(BODY, key=bytes(24))["webhook-signature"]
    headers["webhook-signature"] = f"v1a,abc {other} {headers['webhook-signature']} v2,x"

    assert is_accepted(StandardWebhooks(*SECRETS), headers)


@pytest.mark.parametrize("late_s", [-301, -299, 0, 299, 301])
def test_another_time_is_refused(late_s: float) -> None:
    """What was recorded cannot be sent for ever, nor signed ahead."""
    headers = standard_headers(BODY, timestamp=NOW - late_s)

    assert is_accepted(StandardWebhooks(*SECRETS), headers) == (abs(late_s) <= 300)


def test_the_tolerance_is_an_option() -> None:
    """For clocks that differ, or queues that hold requests."""
    headers = standard_headers(BODY, timestamp=NOW - 3000)

    assert is_accepted(StandardWebhooks(*SECRETS, tolerance=timedelta(hours=1)), headers)


def test_the_parts_that_are_signed_cannot_be_shifted() -> None:
    """A dot in the id would make one signed text of two different requests."""
    signed = standard_headers(BODY, identity=f"msg.{int(NOW)}")
    shifted = {**signed, "webhook-id": "msg"}
    body = f"{int(NOW)}.".encode() + BODY

    assert not is_accepted(StandardWebhooks(*SECRETS), signed)
    # It would fit: whoever signs ids with dots is not to be believed at all, so none of them is accepted above.
    assert is_accepted(StandardWebhooks(*SECRETS), shifted, body)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize(
    "value", [None, "", " ", "\xff", "a.b", "v1,", "v1", "-1", "1e9", "²", "9" * 13, "0x10", "nan"]
)
def test_a_header_that_makes_no_sense_is_no_signature(name: str, value: str | None) -> None:
    """It is refused as any other, and breaks nothing."""
    headers = standard_headers(BODY)
    headers = {key: text for key, text in {**headers, name: value}.items() if text is not None}

    assert not is_accepted(StandardWebhooks(*SECRETS), headers)


@pytest.mark.parametrize("value", [None, "", "sha256=", "sha1=abc", "\xff", "sha256=\xe9"])
def test_a_header_that_makes_no_sense_is_none_of_github(value: str | None) -> None:
    """As above; the old `sha1` is not read."""
    assert not is_accepted(GitHub(*GITHUB_SECRETS), {} if value is None else {"x-hub-signature-256": value})


def test_github_signs_in_full() -> None:
    """A part of it is nothing."""
    whole = github_headers(BODY)["x-hub-signature-256"]

    for part in (whole[:-1], whole.upper(), whole + "0", whole.removeprefix("sha256=")):
        assert not is_accepted(GitHub(*GITHUB_SECRETS), {"x-hub-signature-256": part})


@pytest.mark.parametrize("secret", ["a secret of sixteen", "another secret of theirs"])
def test_a_shared_secret_is_sent_as_it_is(secret: str) -> None:
    """Any of them, in the header that was named."""
    verifier = SharedSecret("X-Api-Key", "a secret of sixteen", "another secret of theirs")

    assert verifier.header_names == ("x-api-key",)
    assert is_accepted(verifier, {"x-api-key": secret})
    for wrong in (secret[:-1], secret + " ", "", "\xff"):
        assert not is_accepted(verifier, {"x-api-key": wrong})
    assert not is_accepted(verifier, {"authorization": secret})


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (StandardWebhooks, ()),
        (StandardWebhooks, ("whsec_???",)),
        (StandardWebhooks, ("whsec_é",)),
        (StandardWebhooks, ("whsec_AAAA",)),
        (StandardWebhooks, (SECRETS[0], "whsec_AAAA")),
        (GitHub, ()),
        (GitHub, ("AAAA",)),
        (GitHub, (GITHUB_SECRETS[0], "")),
        (SharedSecret, ("x-api-key",)),
        (SharedSecret, ("x-api-key", "AAAA")),
        (SharedSecret, (" ", GITHUB_SECRETS[0])),
    ],
)
def test_keys_that_protect_nothing_are_refused(make: Callable[..., Verifier], arguments: tuple[str, ...]) -> None:
    """When they are given, and without telling them to a log."""
    with pytest.raises(InvalidOption) as caught:
        make(*arguments)

    assert not any(secret in str(caught.value) for secret in ("AAAA", "???", "é"))


def test_a_tolerance_leaves_some_time() -> None:
    """Nothing arrives in the second in which it was signed."""
    with pytest.raises(InvalidOption, match="tolerance"):
        StandardWebhooks(*SECRETS, tolerance=timedelta(0))


def test_verifiers_do_not_show_their_keys() -> None:
    """They stand in tracebacks and logs."""
    for verifier in (StandardWebhooks(*SECRETS), GitHub(*GITHUB_SECRETS), SharedSecret("x-api-key", *GITHUB_SECRETS)):
        assert not any(secret in repr(verifier) for secret in (*SECRETS, *GITHUB_SECRETS))


TEXT = st.text(st.characters(max_codepoint=255), max_size=80)


@given(
    st.dictionaries(st.sampled_from(StandardWebhooks.header_names), TEXT | st.just(str(int(NOW)))),
    st.binary(max_size=50),
)
def test_nobody_forges_a_standard_webhook(headers: dict[str, str], body: bytes) -> None:
    """Without a key nothing is accepted, and nothing breaks."""
    assert not is_accepted(StandardWebhooks(*SECRETS), headers, body)


@given(st.binary(max_size=50), st.binary(max_size=50), st.text("ab", max_size=4), st.integers(-400, 400))
def test_a_signature_is_for_one_request(body: bytes, other: bytes, identity: str, late_s: int) -> None:
    """With another body, id or time it is nothing."""
    assume(body != other)
    verifier = StandardWebhooks(*SECRETS)
    headers = standard_headers(body, identity="id")

    assert is_accepted(verifier, headers, body)
    assert not is_accepted(verifier, headers, other)
    assert not is_accepted(verifier, {**headers, "webhook-id": identity}, body)
    assert late_s == 0 or not is_accepted(verifier, {**headers, "webhook-timestamp": str(int(NOW) + late_s)}, body)


@given(TEXT, st.binary(max_size=50))
def test_nobody_forges_a_signature_of_github(signature: str, body: bytes) -> None:
    """As above."""
    assert not is_accepted(GitHub(*GITHUB_SECRETS), {"x-hub-signature-256": signature}, body)
    assert not is_accepted(GitHub(*GITHUB_SECRETS), {"x-hub-signature-256": f"sha256={signature}"}, body)
