"""A plain blocking client for an ASGI application, its lifespan included."""

import asyncio
from types import TracebackType
from typing import Any, Self

import httpx


class Client:
    """Runs the application on its own loop; ``with`` brackets the lifespan."""

    def __init__(self, app: Any, **headers: str) -> None:
        self._app = app
        self._headers = headers
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._start())
        return self

    def __exit__(self, *_: type[BaseException] | TracebackType | BaseException | None) -> None:
        self._runner.run(self._stop())
        self._runner.close()

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self.http.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    async def _start(self) -> None:
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan = asyncio.create_task(self._app(scope, self._to_app.get, self._from_app.put))
        await self._to_app.put({"type": "lifespan.startup"})
        answer = await self._from_app.get()
        assert answer["type"] == "lifespan.startup.complete", answer
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=True)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test", headers=self._headers)

    async def _stop(self) -> None:
        await self.http.aclose()
        await self._to_app.put({"type": "lifespan.shutdown"})
        answer = await self._from_app.get()
        assert answer["type"] == "lifespan.shutdown.complete", answer
        await self._lifespan
