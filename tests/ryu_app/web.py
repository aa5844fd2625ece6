"""REST on Ryu's web server over loopback, and a client that says exactly what it is told to."""

import json

import eventlet
import eventlet.wsgi
from eventlet.green import socket

from ryu_app.rest import Rest

if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
    eventlet.wsgi.ALREADY_HANDLED = []         # as ryu_app.launcher does

from ryu.app import wsgi  # noqa: E402

from ryu_app.app import FtmbRest  # noqa: E402


class Web:
    """Serves *operations* with *key* at ``port`` until ``stop``."""

    def __init__(self, key, operations):
        application = wsgi.WSGIApplication()
        application.register(FtmbRest, {"rest": Rest(key, operations)})
        listener = eventlet.listen(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._thread = eventlet.spawn(eventlet.wsgi.server, listener, application, log_output=False)

    def stop(self):
        self._thread.kill()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def ask(self, method, path, body=b"", headers=()):
        """(HTTP status, JSON value, headers)."""
        head = {"Host": "x", "Connection": "close", "Content-Length": str(len(body)), **dict(headers)}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items() if value is not None)]
        with self.connect() as sock:
            sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            return answer(sock)


def answer(sock):
    """The answer that comes until the server closes, or as long as it says it is."""
    with sock.makefile("rb") as file:
        status = int(file.readline().split()[1])
        headers = {}
        while (line := file.readline().strip()):
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        data = file.read(int(headers["content-length"]))
    return status, json.loads(data) if "json" in headers.get("content-type", "") else data, headers
