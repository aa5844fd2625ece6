"""Requests to the daemon: one JSON line in, one JSON line out, one connection each, one at a time."""

import json
import os
import socket
import traceback

from ..errors import UsageError

REQUEST_BYTES_MAX = 1 << 16
ANSWER_BYTES_MAX = 16 << 20
_PATIENCE_S = 2


def listen(path):
    """A listening Unix socket at *path*, for root only."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    os.chmod(path, 0o600)
    server.listen(16)
    return server


def serve(server, operations):
    """Answer for ever. *operations*: {name: function of keyword arguments that returns plain data}."""
    while True:
        connection, _address = server.accept()
        with connection:
            connection.settimeout(_PATIENCE_S)
            try:
                answer = answer_to(read_line(connection, REQUEST_BYTES_MAX), operations)
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except OSError as error:
                # the client went away or fell silent; that is its affair
                print(f"a client was lost: {error}", flush=True)


def answer_to(line, operations):
    """{"result": ...} or {"error": text} for one request line."""
    try:
        request = json.loads(line)
        operation, arguments = operations[request["op"]], request.get("arguments", {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"error": f"not a request: {error!r}"}
    try:
        return {"result": operation(**arguments)}
    except UsageError as error:
        return {"error": str(error)}
    except Exception:
        # A mistake in one operation must not take the network down with it: its caller and the log are told.
        traceback.print_exc()
        return {"error": f"internal error:\n{traceback.format_exc()}"}


def read_line(connection, bytes_max):
    """Bytes up to a newline or the end. Raises OSError when they are too many, or too slow."""
    data = bytearray()
    while not data.endswith(b"\n"):
        chunk = connection.recv(1 << 16)
        if not chunk:
            break
        data += chunk
        if len(data) > bytes_max:
            raise OSError(f"more than {bytes_max} bytes in one message")
    return bytes(data)
