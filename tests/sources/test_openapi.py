"""What the endpoint says of itself is so: schemathesis sends what the document allows, and what it does not."""

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from everfresh.sources.debezium import Debezium
from everfresh.sources.hooks import Hook
from everfresh.sources.http import EventsEndpoint, Hooks
from everfresh.sources.rates import Rate
from everfresh.sources.rules import WebhookRule, WebhookRules
from everfresh.sources.signatures import GitHub, StandardWebhooks
from everfresh.sources.webhooks import Formats
from tests.sources.posting import Application, Published
from tests.sources.signing import GITHUB_SECRETS, SECRETS

HOOKS = {
    "/events": Hook(),
    "/debezium": Hook(reader=Formats(debezium=Debezium(type="{schema|none}.{table}")), max_events=3),
    "/rules": Hook(reader=WebhookRules(WebhookRule("a.{headers.x-kind|none}")), rate=Rate(per_second=1e6, burst=10**6)),
    "/signed": Hook(verifier=StandardWebhooks(*SECRETS)),
    "/github": Hook(verifier=GitHub(*GITHUB_SECRETS), rate=Rate(per_second=1, burst=1)),
}


def searched(app: Application, document: str, path: str, mode: GenerationMode) -> set[int]:
    """Every answer fits the document; gives the statuses that were met."""
    schema = schemathesis.openapi.from_asgi(document, app)
    schema.validate()
    statuses: set[int] = set()

    @settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], database=None)
    @given(case=schema[path]["POST"].as_strategy(generation_mode=mode))
    def search(case: schemathesis.Case) -> None:
        response = case.call()
        statuses.add(response.status_code)
        # The schemas say what a careful sender sends; more than that may be read, so that no sender is stopped.
        case.validate_response(response, excluded_checks=[negative_data_rejection])

    search()
    return statuses


@pytest.mark.searching
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("path", HOOKS)
def test_every_answer_is_one_that_the_document_names(path: str, mode: GenerationMode) -> None:
    """What fits the document is accepted, and whatever is sent is answered as it says, never as a server's error."""
    statuses = searched(Hooks(Published(), HOOKS), "/openapi.json", path, mode)

    if path in {"/signed", "/github"}:
        assert statuses <= {401, 413, 429}
    elif mode is GenerationMode.POSITIVE:
        assert 202 in statuses
    else:
        assert 400 in statuses


@pytest.mark.searching
def test_one_endpoint_describes_itself_where_it_stands() -> None:
    """Whatever it is mounted under."""
    app = EventsEndpoint(Published())

    assert searched(app, "/shop/events/openapi.json", "/shop/events", GenerationMode.POSITIVE) == {202}


def test_the_schemas_of_answers_are_those_of_what_is_answered() -> None:
    """They are made from the same classes."""
    app = Hooks(Published(), HOOKS)
    document = msgspec.json.decode(msgspec.json.encode(app._document))  # noqa: SLF001 - as it is sent

    accepted = document["components"]["schemas"]["Accepted"]
    assert set(accepted["properties"]) == {"position", "n_applied", "n_passed_over", "n_failed", "failed"}
    assert accepted["required"] == ["position"]
