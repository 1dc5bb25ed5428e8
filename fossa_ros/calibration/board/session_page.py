"""A page on this machine that shows a session with the board, for a browser beside the board."""

from __future__ import annotations

import contextlib
import json
import logging
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fossa_ros.calibration.board.session_view import SessionView

LOG = logging.getLogger(__name__)
HOST = "127.0.0.1"
MOST_CONNECTIONS = 8
"""Served at once; a further one is closed, and its browser asks again."""
SLOWEST_S = 5.0
"""Seconds for which a browser may neither ask nor take what it asked for."""
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Calibration with a board</title><style>
body { font: 16px/1.45 system-ui, sans-serif; color: #22303c; margin: 1em auto; max-width: 1300px; padding: 0 1em; }
#ask { font-size: 22px; font-weight: 600; min-height: 1.5em; } #remark { color: #c05621; min-height: 1.5em; }
img { width: 100%; background: #222; } progress { width: 16em; } .ended { opacity: .4; }
</style></head><body>
<p id="ask">Waiting for the first image.</p><p id="remark"></p>
<p>Places <progress id="session" value="0"></progress> <span id="places"></span>
 &emsp; This sweep <progress id="sweep" value="0"></progress> <span id="frames"></span></p>
<img id="view" alt="The newest image with the corners of the board, and what boards have covered">
<p>Left: the newest image; circles are corners of the board. Right: what the boards so far have covered, and the four
corners of the image: green once a board was seen there.</p>
<h3 id="heading" hidden>Still missing</h3><ul id="missing"></ul>
<script>
const at = id => document.getElementById(id);
let shown = "", loading = false;
function bar(name, words, value, most) {
  at(name).max = Math.max(most, 1); at(name).value = value; at(words).textContent = most ? `${value} of ${most}` : "";
}
async function poll() {
  try {
    if (!document.hidden) {
      const reply = await fetch("state.json", { signal: AbortSignal.timeout(3000), cache: "no-store" });
      if (!reply.ok) throw new Error(reply.status);
      const state = await reply.json();
      document.body.classList.remove("ended");
      at("ask").textContent = state.ask; at("remark").textContent = state.remark;
      bar("session", "places", state.seen, state.places); bar("sweep", "frames", state.frame, state.frames);
      at("heading").hidden = !state.missing.length;
      at("missing").replaceChildren(...state.missing.map(words => {
        const item = document.createElement("li"); item.textContent = words; return item;
      }));
      const newest = `${state.image}-${state.seen}`;
      if (state.image && newest !== shown && !loading) {
        shown = newest; loading = true;
        at("view").onload = at("view").onerror = () => { loading = false; };
        at("view").src = `view.jpg?${shown}`;
      }
    }
  } catch {
    document.body.classList.add("ended"); at("ask").textContent = "The sweeps have ended; the terminal says more.";
  }
  setTimeout(poll, 500);
}
poll();
</script></body></html>
"""


class SessionPage:
    """Serve a session until it is closed, on threads of their own, to this machine only.

    Args:
        view: what is shown.
        port: on which; 0 for any. If another program has it, any.

    Attributes:
        address: of the page.
        remark: a sentence with the address.

    Raises:
        OSError: this machine gives no port at all.
    """

    def __init__(self, view: SessionView, port: int = 0):
        moved = ""
        try:
            self._server = _Server(view, port)
        except OSError as error:
            if not port:
                raise
            self._server = _Server(view, 0)
            moved = f", as port {port} cannot be used ({(error.strerror or str(error)).lower()})"
        self.address = f"http://{HOST}:{self._server.server_port}/"
        self.remark = f"The live view is at {self.address}{moved}."
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="live view", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the page; replies under way are not waited for."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, view: SessionView, port: int):
        self.view = view
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking a name server who this machine is, which may take as long as it likes."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a thread, if few are served at present."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and let the next one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave the terminal to the calibration: a browser that went away is no fault of it."""
        LOG.debug("A reply to %s failed.", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SLOWEST_S

    def do_GET(self) -> None:
        """Send the page, its state or its picture."""
        port = self.server.server_port
        # Another site whose name is made to point here must not read the pictures of this camera.
        if self.headers.get("Host", "") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        path = self.path.partition("?")[0]
        if path == "/":
            self._send("text/html; charset=utf-8", _PAGE.encode())
        elif path == "/state.json":
            self._send("application/json", json.dumps(self.server.view.status()).encode())
        elif path == "/view.jpg" and (picture := self.server.view.picture()) is not None:
            self._send("image/jpeg", picture)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the page asks twice a second."""

    def _send(self, kind: str, content: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        with contextlib.suppress(TimeoutError, ConnectionError):
            self.wfile.write(content)
