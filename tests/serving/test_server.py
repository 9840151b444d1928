"""The real thing: a process on a port, over sockets."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest

from tests.serving.serving_home import KEY, MASTER, load_scores, publish_model

START = "import sys; from serving.server import run; run('127.0.0.1', int(sys.argv[1]), int(sys.argv[2]))"
GREETING = "Serving on http://127.0.0.1:{port} (what it offers: /openapi.json). Ctrl-C stops."
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Serving:
    """A running service; ``said`` is all it wrote to its terminal."""

    def __init__(self, home: Path, workers: int, start: str, terminal: IO[str]) -> None:
        self.port = free_port()
        self._terminal = terminal
        environment = {**os.environ, "PERENNIAL_HOME": str(home), "PERENNIAL_API_KEY": MASTER}
        command = [sys.executable, "-c", start, str(self.port), str(workers)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=self._terminal, stderr=subprocess.STDOUT
        )

    def wait_until_live(self) -> None:
        while self.process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/livez", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(self.said())

    def said(self) -> str:
        self._terminal.seek(0)
        return self._terminal.read()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(home: Path, workers: int = 1, start: str = START) -> Iterator[Serving]:
    with tempfile.TemporaryFile("w+") as terminal:
        service = Serving(home, workers, start, terminal)
        try:
            service.wait_until_live()
            yield service
        finally:
            service.end()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    load_scores(home)
    publish_model(home, "churn", "1")
    return home


@pytest.fixture(scope="module")
def port(home: Path) -> Iterator[int]:
    with serving(home) as service:
        yield service.port


def test_it_answers_over_http_and_hides_what_it_is(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=KEY) as http:
        answer = http.post("/v1/scores", json={"customer_ids": ["000001", "nobody"]})
        assert [item["status"] for item in answer.json()["results"]] == ["ok", "not_found"]
        assert "server" not in answer.headers
        assert http.get("/readyz").json()["status"] == "ready"
        assert http.get("/v1/customers/a%2Fb").status_code == 404
        assert http.post("/bentoml/scores", json={"customer_ids": ["000001"]}).status_code == 200


def test_a_big_body_gets_its_413_over_a_socket(port: int) -> None:
    body = b" " * 8_000_000
    headers = {**KEY, "content-type": "application/json"}
    assert httpx.post(f"http://127.0.0.1:{port}/v1/scores", content=body, headers=headers).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(8):
            yield body[:1_000_000]

    assert httpx.post(f"http://127.0.0.1:{port}/v1/scores", content=pieces(), headers=headers).status_code == 413


def test_bytes_that_are_not_http_are_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")


SLOW = (
    "import sys, functools; import serving.server as s, serving.guard as g; s._PATIENCE_SECONDS = 0.2; "
    "g.Limits = functools.partial(g.Limits, body_seconds=0.2); s.run('127.0.0.1', int(sys.argv[1]), int(sys.argv[2]))"
)
HEAD = (
    b"POST /v1/scores HTTP/1.1\r\nHost: x\r\nX-API-Key: " + MASTER.encode() + b"\r\nContent-Type: application/json\r\n"
)


def everything(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def test_slow_callers_are_closed_wherever_they_stop(home: Path) -> None:
    whole = HEAD + b"Content-Length: 27\r\n\r\n" + b'{"customer_ids":["000001"]}'
    refused = HEAD.replace(MASTER.encode(), b"wrong") + b"Content-Length: 5000000\r\n\r\n" + b" " * 1000
    stops = {
        "at once": (b"", b""),
        "in the head": (HEAD, b""),
        "in the body": (HEAD + b"Content-Length: 27\r\n\r\n{", b"HTTP/1.1 408"),
        "in the next head": (whole + HEAD, b"HTTP/1.1 200"),
        "in a body that was refused": (refused, b"HTTP/1.1 401"),
    }
    with serving(home, start=SLOW) as service:
        for where, (sent, expected) in stops.items():
            with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
                connection.sendall(sent)
                try:
                    received = everything(connection)
                except ConnectionResetError:
                    received = b""
                assert received.startswith(expected), where


def test_sigterm_means_not_ready_then_drained_then_gone(home: Path) -> None:
    with serving(home) as service, httpx.Client(base_url=f"http://127.0.0.1:{service.port}", headers=KEY) as http:
        assert http.get("/readyz").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        while (status := http.get("/readyz").status_code) == 200:
            pass
        assert status == 503
        assert http.get("/v1/customers/000001").status_code == 200
        assert service.process.wait(30) in (0, -signal.SIGTERM)
        assert service.said().splitlines() == [GREETING.format(port=service.port)]


def test_several_workers_share_the_port_and_the_counters(home: Path) -> None:
    with serving(home, workers=2) as service:
        base = f"http://127.0.0.1:{service.port}"
        for _ in range(20):
            assert httpx.get(f"{base}/v1/models", headers=KEY, timeout=20).status_code == 200
        text = httpx.get(f"{base}/metrics", timeout=20).text
        assert 'perennial_requests_total{method="GET",route="/v1/models",status="200"} 20.0' in text.splitlines()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(40) == 0
        assert service.said().splitlines() == [GREETING.format(port=service.port)]
