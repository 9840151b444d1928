"""Requests a second and p99 of the API against the same work on bare uvicorn, in one run; prints one JSON line each.

Run with `python -m benchmarks.api`. The store holds a made run of 20,000 customers; callers keep their connections,
ask for one customer at a time and wait for each answer before the next question. The last line is about customers
unknown to the store, who come with 30 order lines of their own and are scored by real models.
"""

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.trained import company, put_on_shelf
from serving.columns import SCORE_COLUMNS, Kind
from serving.decisions.playbook import load_playbook
from serving.store import Store

CUSTOMERS = 20_000
CALLERS = (1, 16)
SECONDS = 4.0
ROUNDS = 3
OWN_REQUESTS, LINES = 300, 30
KEY = "benchmark-key"
SERVE = "import sys; from serving.server import run; run('127.0.0.1', int(sys.argv[1]), 1)"
BARE = """
import sys, uvicorn, orjson
from perennial.settings import settings
from serving.answers import Answers
answers = Answers(settings())
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    ids = orjson.loads(body)["customer_ids"] if body else []
    content = orjson.dumps(answers.scores(ids) if ids else {})
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]})
    await send({"type": "http.response.body", "body": content})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
"""


def main() -> None:
    """Measure both, turn about, and print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder))
        put_on_shelf(Path(folder) / "models", company())
        with _process(SERVE, folder) as served, _process(BARE, folder) as bare:
            for callers in CALLERS:
                rounds = [
                    {name: asyncio.run(_load(port, callers)) for name, port in (("api", served), ("bare", bare))}
                    for _ in range(ROUNDS)
                ]
                print(json.dumps({"callers": callers, **_summary(rounds)}))
            print(json.dumps({"callers": 1, "records": f"{LINES} lines of the caller's own", **_own(served)}))


def _summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    summary = {
        f"{name}_{figure}": round(float(np.median([each[name][figure] for each in rounds])), 2)
        for name in ("api", "bare")
        for figure in ("requests_per_second", "p50_ms", "p99_ms")
    }
    share = summary["api_requests_per_second"] / summary["bare_requests_per_second"]
    return {**summary, "share_of_bare": round(share, 3)}


def _fill(home: Path) -> None:
    """Load a made run: values do not matter here, only their number and size."""
    store = Store(f"sqlite:///{(home / 'store.db').resolve()}")
    made: dict[Kind, Any] = {
        Kind.NUMBER: 123.456789,
        Kind.INTEGER: 90,
        Kind.FLAG: False,
        Kind.DAY: "2024-06-01",
        Kind.INSTANT: "2024-06-01T00:00:00Z",
    }
    frame = pd.DataFrame({c.name: [made.get(c.kind, "a word or two")] * CUSTOMERS for c in SCORE_COLUMNS})
    frame["customer_id"] = [f"{i:06d}" for i in range(CUSTOMERS)]
    frame["model_versions"] = "churn=1;clv=1;segments=1"
    manifest = {
        "as_of": datetime(2024, 6, 1, tzinfo=UTC),
        "language": "en",
        "timezone": "Europe/Berlin",
        "currency": "EUR",
        "horizon_days": 90,
        "model_versions": {},
        "playbook_sha256": load_playbook().sha256,
    }
    store.load_run(manifest, frame)
    store.close()


@contextmanager
def _process(program: str, home: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "PERENNIAL_HOME": home, "PERENNIAL_API_KEY": KEY}
    process = subprocess.Popen([sys.executable, "-c", program, str(port)], env=environment)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def _own(port: int) -> dict[str, float]:
    """Return what a caller waits for who sends a customer's own records, and what the first one waited."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    times = [_ask_own(connection, number) for number in range(OWN_REQUESTS)]
    connection.close()
    first, *rest = times
    return {
        "first_ms": round(first, 2),
        **{f"p{percent}_ms": round(float(np.percentile(rest, percent)), 2) for percent in (50, 99)},
    }


def _ask_own(connection: http.client.HTTPConnection, number: int) -> float:
    rng = np.random.default_rng(number)
    first = datetime(2023, 1, 1, 9, tzinfo=UTC)
    orders = [
        {
            "ordered_at": (first + timedelta(days=15 * (line // 2))).isoformat(),
            "order_id": f"order-{line // 2}",
            "amount": round(float(rng.gamma(2, 15)), 2),
            "quantity": 1 + line % 3,
            "category": f"category {line % 5}",
            "channel": "web" if line % 3 else "shop",
        }
        for line in range(LINES)
    ]
    asked = {"customers": [{"customer_id": f"new-{number}", "orders": orders}], "as_of": "2023-09-01T00:00:00Z"}
    started = time.perf_counter()
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    connection.request("POST", "/v1/scores", json.dumps(asked), headers)
    answer = json.load(connection.getresponse())
    if [item["status"] for item in answer.get("results", [])] != ["ok"]:
        raise RuntimeError(json.dumps(answer))
    return 1e3 * (time.perf_counter() - started)


async def _load(port: int, callers: int) -> dict[str, float]:
    spent: list[float] = []
    stop = time.perf_counter() + SECONDS
    await asyncio.gather(*(_caller(port, number, stop, spent) for number in range(callers)))
    times = np.array(spent) * 1000
    return {
        "requests_per_second": len(spent) / SECONDS,
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
    }


async def _caller(port: int, number: int, stop: float, spent: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    step = 0
    while (started := time.perf_counter()) < stop:
        body = json.dumps({"customer_ids": [f"{(number * 7919 + step) % CUSTOMERS:06d}"]}).encode()
        head = f"POST /v1/scores HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        spent.append(time.perf_counter() - started)
        step += 1
    writer.close()


if __name__ == "__main__":
    main()
