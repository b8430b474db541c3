"""Files in, a web server on this machine out: it counts what it sends, and fails where a test wants it to."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class LocalServer:
    """`files` by name; the rest are ways to misbehave, and what was seen."""

    files: dict[str, bytes]
    ranges: bool = True  # answers range requests
    break_after: int | None = None  # bytes of one answer after which the connection ends
    breaks: int = 1  # how often it does so
    failures: list[int] = field(default_factory=list)  # statuses of the next answers
    address: str = ""
    bytes_sent: int = 0
    requests: list[str] = field(default_factory=list)  # the Range header of each, or an empty string

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"


class _Handler(BaseHTTPRequestHandler):
    local: LocalServer

    def do_GET(self) -> None:
        local = self.local
        wanted = self.headers.get("Range", "")
        local.requests.append(wanted)
        content = local.files.get(self.path.lstrip("/"))
        if local.failures:
            self.send_error(local.failures.pop(0))
        elif content is None:
            self.send_error(404)
        else:
            self._send(content, wanted if local.ranges else "")

    def _send(self, content: bytes, wanted: str) -> None:
        local = self.local
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        first = int(match[1]) if match else 0
        if match and first >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        body = content[first:]
        if local.break_after is not None and local.breaks > 0:
            local.breaks -= 1
            body = body[: local.break_after]
        self.wfile.write(body)
        local.bytes_sent += len(body)

    def log_message(self, *args: object) -> None:
        """Stays silent."""


@contextmanager
def serving(files: dict[str, bytes], **behaviour: object) -> Iterator[LocalServer]:
    """A server for the length of the block, at a port of its own."""
    local = LocalServer(files, **behaviour)  # type: ignore[arg-type]  # the test knows the fields
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"local": local}))
    local.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield local
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
