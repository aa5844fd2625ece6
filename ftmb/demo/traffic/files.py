"""An HTTP server with one file that is as long as the demo: curl loads it through every kill.

    python -m ftmb.demo.traffic.files --address 192.0.2.1 --seed 7 [--port 7080]

The body is the deterministic stream of payload.py in chunked encoding, so that its end need not be known when it
begins: the command ``finish`` ends it in order, and the result tells its length and SHA-256. The kernel paces it a
little below what curl is asked to read (``curl --limit-rate 1M``), so that next to nothing is queued when it ends.
"""

import argparse
import hashlib
import select
import socket

from .loop import Loop, emit
from .payload import BLOCK_BYTES, block

_REQUEST_BYTES_MAX = 8192
#: Bytes a second on the wire.
_PACE_BYTES_PER_S = 1_000_000
_SO_MAX_PACING_RATE = 47        # Linux; the socket module does not name it
#: Small, so that little is under way when the end is asked for.
_SEND_BUFFER_BYTES = 65536
_HEAD = (b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
         b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")


class FileServer:
    """Serves one download at a time; a second one while the first is under way waits in the backlog."""

    def __init__(self, address, port, seed):
        self._seed = seed
        self._loop = Loop(self._on_command)
        self._listener = socket.create_server((address, port), backlog=4)
        self._loop.add(self._listener, self._on_accept)
        self._sock = None
        self._finishing = False
        self._reset()

    def _reset(self):
        self._request, self._pending, self._index = b"", b"", 0
        self._digest, self._length_bytes, self._error = hashlib.sha256(), 0, None
        self._step = self._read_request

    def run(self):
        """Serve until told to finish and the download under way has ended."""
        emit("ready")
        self._loop.run()

    def _on_command(self, words):
        if words != ["finish"]:
            raise ValueError(f"unknown command {words}")
        self._finishing = True
        if self._sock is None:
            self._result()

    def _result(self):
        emit("result", bytes=self._length_bytes, sha256=self._digest.hexdigest(), error=self._error)
        self._loop.stop()

    def _on_accept(self, _events):
        self._sock, _peer = self._listener.accept()
        self._loop.want(self._listener, 0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, _PACE_BYTES_PER_S)
        self._sock.setblocking(False)
        self._reset()
        self._loop.add(self._sock, self._on_event)

    def _on_event(self, _events):
        try:
            self._step()
        except BlockingIOError:
            return
        except OSError as error:
            self._error = str(error)
            self._close()

    def _read_request(self):
        data = self._sock.recv(_REQUEST_BYTES_MAX)
        self._request += data
        if not data or len(self._request) > _REQUEST_BYTES_MAX:
            self._close()
        elif self._request.endswith(b"\r\n\r\n"):
            self._pending, self._step = _HEAD, self._write_body
            self._loop.want(self._sock, select.EPOLLOUT)

    def _write_body(self):
        if not self._pending:
            if self._finishing:
                self._pending, self._step = b"0\r\n\r\n", self._write_end
                return
            data = block(self._seed, self._index)
            self._index += 1
            self._digest.update(data)
            self._length_bytes += len(data)
            self._pending = b"%x\r\n%b\r\n" % (BLOCK_BYTES, data)
        self._pending = self._pending[self._sock.send(self._pending):]

    def _write_end(self):
        self._pending = self._pending[self._sock.send(self._pending):]
        if not self._pending:
            self._sock.shutdown(socket.SHUT_WR)
            self._step = self._read_end
            self._loop.want(self._sock, select.EPOLLIN)

    def _read_end(self):
        if not self._sock.recv(_REQUEST_BYTES_MAX):
            self._close()

    def _close(self):
        self._loop.close(self._sock)
        self._sock = None
        if self._finishing:
            self._result()
        else:
            self._loop.want(self._listener, select.EPOLLIN)


def main():
    """Command line of the file server."""
    parser = argparse.ArgumentParser(description="HTTP download of the demo")
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, default=7080)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    FileServer(args.address, args.port, args.seed).run()


if __name__ == "__main__":
    main()
