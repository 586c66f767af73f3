"""What the endpoint reads, as JSON Schema 2020-12 for its OpenAPI document. Data.

A schema says what a careful sender sends, in ASCII; what is read is at least that.
"""

from __future__ import annotations

from everfresh.model.event import MAX_TOPIC_BYTES

Schema = dict[str, object]

# Printable ASCII without what Event refuses: spaces, dots but between words, and wildcards.
_WORD = r"[!-\"$-)+-\-/-~]+"
_TOPIC: Schema = {
    "type": "string",
    "pattern": rf"^{_WORD}(\.{_WORD})*$",
    "minLength": 1,
    "maxLength": MAX_TOPIC_BYTES,
    "description": "Dotted words without wildcards.",
}
_TEXT: Schema = {"type": "string", "minLength": 1}
_OBJECT: Schema = {"type": "object"}
_IMAGE: Schema = {"type": ["object", "null"]}

MESSAGE: Schema = {
    "type": "object",
    "required": ["topic"],
    "properties": {
        "topic": _TOPIC,
        "body": {**_OBJECT, "description": "The fields that dependencies name."},
        "id": {"type": ["string", "null"], "minLength": 1, "description": "The same when it is sent again."},
        "headers": {"type": ["object", "null"]},
    },
}
CLOUDEVENT: Schema = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": _TEXT,
        "source": _TEXT,
        # Those of Debezium are read as its envelopes.
        "type": {**_TOPIC, "not": {"pattern": r"^io\.debezium\."}},
        "data": {"type": ["object", "null"]},
        "data_base64": False,
    },
}
ENVELOPE: Schema = {
    "type": "object",
    "description": "A change event of Debezium, bare; it may stand under `payload` beside its `schema`.",
    "required": ["op", "source"],
    "properties": {
        "topic": False,
        "payload": False,
        "op": {"enum": ["c", "u", "d", "r", "t", "m"]},
        "before": _IMAGE,
        "after": _IMAGE,
        "source": {
            "type": "object",
            "required": ["table"],
            "properties": {"table": {"type": "string", "pattern": "^[a-z_][a-z0-9_]*$", "maxLength": 63}},
        },
        "ts_ms": {"type": "integer"},
    },
}
_PLAIN: Schema = {"oneOf": [{"$ref": "#/components/schemas/Message"}, {"$ref": "#/components/schemas/Envelope"}]}
_CLOUDEVENT: Schema = {"$ref": "#/components/schemas/CloudEvent"}

COMPONENTS: dict[str, object] = {"Message": MESSAGE, "CloudEvent": CLOUDEVENT, "Envelope": ENVELOPE}


def content_of_formats(n_max: int) -> dict[str, object]:
    """What `Formats` reads, by media type, with at most `n_max` events at once."""
    return {
        "application/json": {"schema": {"oneOf": [_PLAIN, _many(_PLAIN, n_max)]}},
        "application/cloudevents+json": {"schema": _CLOUDEVENT},
        "application/cloudevents-batch+json": {"schema": _many(_CLOUDEVENT, n_max)},
        "application/x-ndjson": {"schema": {"type": "string", "description": "One message or envelope a line."}},
    }


def content_of_rules(n_max: int) -> dict[str, object]:
    """What `WebhookRules` read, by media type: any object, or at most `n_max` of them."""
    return {"application/json": {"schema": {"oneOf": [_OBJECT, _many(_OBJECT, n_max)]}}}


def _many(item: Schema, n_max: int) -> Schema:
    return {"type": "array", "items": item, "maxItems": n_max}
