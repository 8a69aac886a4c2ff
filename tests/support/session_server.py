"""A server of one instance that knows MCP's two transports a little: `session_server.py PORT`."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
import time
import uuid


class Handler(http.server.BaseHTTPRequestHandler):
    """Tells its process id and what it was sent; mints ids as MCP servers do."""

    protocol_version = "HTTP/1.1"

    def _answer(self, status: int = 200, **extra: str) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/wait"):
            time.sleep(0.2)
        body = json.dumps({"pid": os.getpid(), "path": self.path}).encode()
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path != "/sse":
            self._answer()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (b"event: endpoint\n", b"data: /messages/?session_id=%b\n\n" % uuid.uuid4().hex.encode()):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.flush()
            time.sleep(0.02)
        while True:
            self.wfile.write(b"8\r\n: ping\n\n\r\n")
            self.wfile.flush()
            time.sleep(0.05)

    def do_POST(self) -> None:
        if self.path == "/mcp" and "Mcp-Session-Id" not in self.headers:
            self._answer(Mcp_Session_Id=f"mcp.{uuid.uuid4()}")
        else:
            self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None: ...


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    threading.Thread(target=server.serve_forever).start()
