"""The REST interface, without the web server: a request in, (HTTP status, JSON value) out.

    GET    /ftmb/status    groups, nodes, failovers (docs: ``ftmb status --json``)
    GET    /ftmb/events    the last events, oldest first; ?since=N for those after number N
    DELETE /ftmb/rules     remove every entry of ours from the switches; header X-FTMB-Key: the key in hex

Rules stay away after a DELETE until the controller is started again.
"""

import hmac

PATHS = {"/ftmb/status": ("GET",), "/ftmb/events": ("GET",), "/ftmb/rules": ("DELETE",)}


class Rest:
    """Answers requests. *status()* and *events(since)* give JSON values; *withdraw()* removes the rules and
    returns whether all switches have confirmed."""

    def __init__(self, key, status, events, withdraw):
        self._key, self._status, self._events, self._withdraw = key, status, events, withdraw

    def handle(self, method, path, query, headers):
        """(status, value) for a request; *query* and *headers* are maps of text."""
        if path not in PATHS:
            return 404, {"error": f"no such path; there are: {', '.join(PATHS)}"}
        if method not in PATHS[path]:
            return 405, {"error": f"{path} takes {', '.join(PATHS[path])}"}
        if path == "/ftmb/status":
            return 200, self._status()
        if path == "/ftmb/events":
            since = query.get("since", "0")
            if not (since.isascii() and since.isdigit() and len(since) < 20):
                return 400, {"error": "since must be a number"}
            return 200, self._events(int(since))
        given = headers.get("X-FTMB-Key", "")
        if not hmac.compare_digest(given.encode(), self._key.hex().encode()):
            return 401, {"error": "the header X-FTMB-Key must hold the deployment's key in hex"}
        if self._withdraw():
            return 200, {"removed": True}
        return 503, {"error": "not every switch has confirmed", "removed": False}
