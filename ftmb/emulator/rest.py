"""The controller's REST interface, as the emulator uses it."""

import http.client
import json
from urllib.parse import quote

_ANSWER_BYTES_MAX = 8 << 20
#: the controller answers when a move is over, or after 30 s
_ORDER_TIMEOUT_S = 40


def fetch_status(port, timeout_s=2):
    """The answer of GET /ftmb/status on 127.0.0.1, or None while the controller does not answer."""
    answer = _request(port, timeout_s, "GET", "/ftmb/status")
    return answer[1] if answer is not None and answer[0] == 200 else None


def order(port, key, kind, name, action, **fields):
    """POST /ftmb/*kind*/*name*/*action* with *key* (hex text): (HTTP status, JSON value), or None while nobody answers.

    Of a move: returns when the controller says that it is over, or that it is not.
    """
    headers = {"X-FTMB-Key": key, "Content-Type": "application/json"}
    path = f"/ftmb/{kind}/{quote(name, safe='')}/{action}"
    return _request(port, _ORDER_TIMEOUT_S, "POST", path, json.dumps(fields), headers)


def _request(port, timeout_s, method, path, body=None, headers=None):
    """(HTTP status, JSON value) of a request to 127.0.0.1, or None: no answer, or none that is JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read(_ANSWER_BYTES_MAX))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
