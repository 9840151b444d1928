"""`perennial serve`: uvicorn on the guarded service, quiet, and patient with nobody."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from perennial.errors import PerennialError
from perennial.settings import Settings, settings
from serving.guard import Guard

if TYPE_CHECKING:
    from serving.api import Api

# A request's head, and what is left of a refused body, must arrive in this time; the guard times wanted bodies.
_PATIENCE_SECONDS = 10.0
# Between "not ready" and the closed door, so that a load balancer notices.
_DRAIN_SECONDS = 2.0
_KEEP_ALIVE_SECONDS = 30
_GRACE_SECONDS = 30


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that closes on a caller who does not finish the head of a request, which uvicorn waits for for ever."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock with the connection."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop the clock when the head is complete, start it when another begins."""
        super().data_received(data)
        self._set_clock()

    def on_response_complete(self) -> None:
        """Start the clock on what is still coming in though the answer went out, or came in half with the last one."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]:
            self._set_clock()

    def _set_clock(self) -> None:
        answered = self.cycle is None or self.cycle.response_complete
        if answered and self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._arm()
        else:
            self._disarm()

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(_PATIENCE_SECONDS, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def create_app(settings: Settings) -> tuple[ASGIApp, "Api"]:
    """Build the service behind its guard."""
    from serving.api import Api

    api = Api(settings)
    with warnings.catch_warnings():
        # BentoML 1.4 uses old names of pathspec, pydantic and others while it loads; nothing a user could act on.
        warnings.simplefilter("ignore", DeprecationWarning)
        from serving.service import build  # takes over a second: only processes that serve pay

        service = build(api).to_asgi()
    return Guard(service, **api.door()), api


def worker() -> ASGIApp:
    """Build the application of one serving process from its environment."""
    app, api = create_app(settings())

    async def draining(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            _drain_on_sigterm(api.drain)
        await app(scope, receive, send)

    return draining


def _drain_on_sigterm(begin: Callable[[], None]) -> None:
    """On SIGTERM say "not ready" first and go on answering for a moment; then let uvicorn close and finish."""
    close = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def later(number: int, frame: FrameType | None) -> None:
        begin()
        loop.call_soon_threadsafe(loop.call_later, _DRAIN_SECONDS, _closing, close, number)

    signal.signal(signal.SIGTERM, later)


def _closing(close: Any, number: int) -> None:
    if callable(close):
        close(number, None)


def _require_door(host: str, port: int) -> None:
    """Refuse an address nobody can listen on before saying that somebody does."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise PerennialError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --host or --port"
        ) from error


def run(host: str, port: int, workers: int) -> None:
    """Serve until told to stop; with several workers, one that died is started again."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    settings()
    _require_door(host, port)
    print(
        f"Serving on http://{host}:{port} (what it offers: /openapi.json). Ctrl-C stops.", file=sys.stderr, flush=True
    )
    with tempfile.TemporaryDirectory(prefix="perennial-metrics-") as folder:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        uvicorn.run(
            "serving.server:worker",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            http=PatientProtocol,
            ws="none",
            log_level="warning",
            access_log=False,  # paths hold customer ids
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
