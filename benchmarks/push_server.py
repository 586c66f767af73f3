"""The server that benchmarks/push.py measures: a page's entries in memory, `POST` puts a value, `GET` is the stream."""

import asyncio
import resource
import socket
import sys

import msgspec
import uvicorn

from everfresh import Cache, Key
from everfresh.asgi import Receive, Scope, Send, read_body
from everfresh.push import Topic, Updates
from everfresh.push.limits import Limits

_SEND_BUFFER_BYTES = 65_536


def main(port: int) -> None:
    """Serve until terminated."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cache = Cache("memory:")
    topics = {name: Topic(Key(name)) for name in ("small", "large")}
    updates = Updates(cache, topics, limits=Limits(per_address=20_000))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") != "POST":
            await updates(scope, receive, send)
            return
        body = await read_body(receive, max_bytes=1 << 20)
        await cache.put(str(scope["path"])[1:], msgspec.json.decode(body))
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind(("127.0.0.1", port))
        listener.listen(4_096)
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            loop="uvloop",
            http="httptools",
            lifespan="off",
            timeout_keep_alive=600,
        )
        server = uvicorn.Server(config)
        loop_of = getattr(config, "get_loop_factory", None)
        if loop_of is not None:
            asyncio.Runner(loop_factory=loop_of()).run(server.serve([listener]))
        else:
            server.run([listener])


if __name__ == "__main__":
    main(int(sys.argv[1]))
