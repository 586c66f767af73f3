"""Rules that make events of webhooks that know nothing of topics: from headers and body to a topic. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

from everfresh.model.errors import InvalidEvent, InvalidOption
from everfresh.model.event import Event
from everfresh.sources.messages import Malformed, decoded, object_of
from everfresh.sources.schemas import content_of_rules
from everfresh.sources.taken import MediaNotSupported, Taken, batch_taken, is_array, one_taken
from everfresh.sources.templates import Template, as_text
from everfresh.sources.webhooks import is_json, media_type_of

_HEADERS, _BODY = "headers.", "body."


@dataclass(frozen=True, slots=True)
class WebhookRule:
    """What one kind of webhook means.

    `topic` is a template of `{headers.name}` and `{body.path.to.field}`, with a word after a bar that stands in for
    what is missing: `"github.{headers.x-github-event}.{body.action|none}"`. What a sender says is one word of the
    topic, whatever it says: dots, wildcards and spaces in it are percent-encoded. None for webhooks that mean nothing.

    The rule is for requests in which every field of `when` has the value given, or one of them. `body` is the path
    of the object that becomes the event's body, all of it by default; `id` the field that becomes its id, if it is
    there; `headers` the names of the headers that it keeps.

    Raises:
        InvalidOption: a path that begins neither with `headers.` nor with `body.`, or a malformed template.
    """

    topic: str | None
    when: Mapping[str, str | Collection[str]] = field(default_factory=dict[str, "str | Collection[str]"])
    body: str = "body"
    id: str | None = None
    headers: Collection[str] = ()
    _template: Template | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        paths = [*self.when, *([] if self.id is None else [self.id])]
        wrong = [path for path in paths if not _is_path(path)]
        if self.body != "body" and not self.body.startswith(_BODY):
            wrong.append(self.body)
        if wrong:
            raise InvalidOption(f"WebhookRule: {wrong[0]!r} is no path. Write 'headers.name' or 'body.path.to.field'.")
        if isinstance(self.headers, str):
            raise InvalidOption(f"WebhookRule: headers is one text. Write ({self.headers!r},), with the comma.")
        template = None if self.topic is None else Template(self.topic, "topic", _is_path)
        object.__setattr__(self, "_template", template)

    def is_for(self, headers: Mapping[str, str], document: object) -> bool:
        """Whether the rule speaks of such a request."""
        for path, wanted in self.when.items():
            text = as_text(value_at(path, headers, document))
            if text is None or text not in ((wanted,) if isinstance(wanted, str) else wanted):
                return False
        return True

    def event_of(self, headers: Mapping[str, str], document: object) -> Event | None:
        """The event that the request means; None if it means nothing.

        Raises:
            Malformed: a field that the topic names is missing, or the body is no object.
        """
        if self._template is None:
            return None
        topic = self._template.filled(lambda path: value_at(path, headers, document))
        whole = document if self.body == "body" else value_at(self.body, headers, document)
        body = object_of(whole, self.body, "the body")
        identity = None if self.id is None else as_text(value_at(self.id, headers, document))
        kept = {name.lower(): headers[name.lower()] for name in self.headers if name.lower() in headers}
        try:
            return Event(topic, body, id=identity or None, headers=kept)
        except InvalidEvent as error:
            names = self._template.names
            raise Malformed(names[-1] if names else "topic", str(error)) from error


class WebhookRules:
    """Reads JSON webhooks by the first rule that is for them; an array is a batch. One that has no rule is refused.

    Raises:
        InvalidOption: no rule.
    """

    def __init__(self, *rules: WebhookRule) -> None:
        if not rules:
            raise InvalidOption("WebhookRules: no rule, so nothing would be taken. Give at least one.")
        self._rules = rules

    def read(self, headers: Mapping[str, str], body: bytes, *, n_max: int) -> Taken:
        """The events of a request; see `Reader.read`."""
        media = media_type_of(headers)
        if not is_json(media):
            raise MediaNotSupported("content-type", f"{media!r} is not read. Send application/json, in UTF-8.")
        document = decoded(body)
        if is_array(document):
            return batch_taken(document, lambda item: self._event_of(headers, item), n_max=n_max)
        return one_taken(document, lambda item: self._event_of(headers, item))

    def content(self, *, n_max: int) -> dict[str, object]:
        """What is read, for OpenAPI; see `Reader.content`."""
        return content_of_rules(n_max)

    def _event_of(self, headers: Mapping[str, str], document: object) -> Event | None:
        object_of(document, "body", "the body")
        for rule in self._rules:
            if rule.is_for(headers, document):
                return rule.event_of(headers, document)
        asked = sorted({path for rule in self._rules for path in rule.when})
        raise Malformed(asked[0], f"no rule is for this webhook; they look at {', '.join(asked)}")


def value_at(path: str, headers: Mapping[str, str], document: object) -> object:
    """The value at `headers.name`, or at `body.path.to.field`, where a key may hold dots; None if there is none."""
    if path.startswith(_HEADERS):
        return headers.get(path.removeprefix(_HEADERS).lower())
    return _inside(document, path.removeprefix(_BODY))


def _inside(node: object, path: str) -> object:
    while isinstance(node, dict):
        members = cast("dict[str, object]", node)
        if path in members:
            return members[path]
        head, dot, path = path.partition(".")
        node = members.get(head) if dot else None
    return None


def _is_path(path: str) -> bool:
    return any(path.startswith(root) and path != root for root in (_HEADERS, _BODY))
