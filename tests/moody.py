"""A server that refuses requests, or breaks connections, as often as a test needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self

MoodyAnswer = tuple[int, dict[str, str], bytes]
"""A status, headers and a body."""
CUT_OFF: MoodyAnswer = 0, {}, b""
"""The connection is closed without an answer."""


class Moody(HTTPServer):
    """Answers requests as `answers` lists: a status, headers and a body each; the last one again and again."""

    def __init__(self, answers: list[MoodyAnswer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.asked = 0
        self.headers: list[dict[str, str]] = []
        """Of each request."""
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Moody

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.headers.append(dict(self.headers))
        status, headers, body = self.server.answers[min(self.server.asked, len(self.server.answers) - 1)]
        self.server.asked += 1
        if status:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Every method is answered alike."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        pass


def problem(status: int, code: str, retry_after: str | None = "0") -> MoodyAnswer:
    content = {"status": status, "code": code, "title": "A title", "detail": "a detail"}
    return status, {} if retry_after is None else {"Retry-After": retry_after}, json.dumps(content).encode()
