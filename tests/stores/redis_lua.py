"""A few of the store's Lua files, run on a real server as one script."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import msgspec
import redis

from everfresh.stores.redis.scripts import script_of

_LUA = files("everfresh.stores.redis") / "lua"


class Lua:
    """The files, in order, with the constants before them, and a step that takes `ARGV[1]` and answers with msgpack."""

    def __init__(self, client: redis.Redis, names: Sequence[str], step: str) -> None:
        self._client = client
        # Every script begins with its flags and with them.
        constants = script_of("scan").text.split("\n")[1]
        texts = [(_LUA / f"{name}.lua").read_text("utf-8") for name in names]
        self._text = "\n".join([constants, "local NULL = cjson.null", *texts, step])

    def answers(self, cases: Sequence[object]) -> Any:  # noqa: ANN401 - whatever the step gives
        """What the step answers to the cases."""
        packed: Any = self._client.eval(self._text, 0, msgspec.msgpack.encode(cases))
        return msgspec.msgpack.decode(packed)
