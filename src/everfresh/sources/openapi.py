"""The OpenAPI 3.1 document of hooks: what each takes, and how it answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from everfresh.asgi import PROBLEM_JSON
from everfresh.sources.answers import Accepted, ProblemDocument
from everfresh.sources.hooks import Hook
from everfresh.sources.schemas import COMPONENTS

_REF = "#/components/schemas/{name}"
_SECONDS = {"schema": {"type": "integer", "minimum": 1}, "required": True, "description": "Seconds to wait for."}
_TEXT = {"schema": {"type": "string"}, "required": True}


def document_of(hooks: Mapping[str, Hook]) -> dict[str, object]:
    """The document of hooks by their paths."""
    schemas = msgspec.json.schema_components([Accepted, ProblemDocument], ref_template=_REF)[1]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Everfresh events", "version": "1"},
        "paths": {path: {"post": _operation(path, hook)} for path, hook in hooks.items()},
        "components": {"schemas": {**schemas, **COMPONENTS}, "securitySchemes": _security_schemes(hooks)},
    }


def _operation(path: str, hook: Hook) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": f"POST {path}",
        "summary": "Publish events",
        "description": f"At most {hook.max_bytes} bytes and {hook.max_events} events.",
        "requestBody": {"required": True, "content": hook.reader.content(n_max=hook.max_events)},
        "responses": _responses(hook),
    }
    if hook.verifier is not None:
        operation["security"] = [{f"{hook.verifier.scheme}.{name}": [] for name in hook.verifier.header_names}]
    return operation


def _responses(hook: Hook) -> dict[str, object]:
    responses: dict[str, object] = {
        "202": {
            "description": "All events of the request are applied.",
            "content": {"application/json": {"schema": {"$ref": _REF.format(name="Accepted")}}},
        },
        "400": _problem("No JSON, or no event; `field` names what is wrong."),
        "408": _problem("The body did not come to its end in time."),
        "413": _problem("More bytes, or more events, than are taken at once."),
        "415": _problem("A media type, a character set or an encoding that is not read."),
        "503": _problem("The store did not answer, or too much is under way.", {"retry-after": _SECONDS}),
    }
    if hook.verifier is not None:
        responses["401"] = _problem("Nobody who has a key sent this.", {"www-authenticate": _TEXT})
    if hook.rate is not None:
        responses["429"] = _problem("More often than one source may.", {"retry-after": _SECONDS})
    return responses


def _problem(description: str, headers: dict[str, object] | None = None) -> dict[str, object]:
    content = {PROBLEM_JSON: {"schema": {"$ref": _REF.format(name="ProblemDocument")}}}
    return {"description": description, "content": content, **({"headers": headers} if headers else {})}


def _security_schemes(hooks: Mapping[str, Hook]) -> dict[str, object]:
    verifiers = [hook.verifier for hook in hooks.values() if hook.verifier is not None]
    return {
        f"{verifier.scheme}.{name}": {"type": "apiKey", "in": "header", "name": name}
        for verifier in verifiers
        for name in verifier.header_names
    }
