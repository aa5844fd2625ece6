"""The controller's REST interface, as the emulator uses it."""

import http.client
import json

_ANSWER_BYTES_MAX = 8 << 20


def fetch_status(port, timeout_s=2):
    """The answer of GET /ftmb/status on 127.0.0.1, or None while the controller does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", "/ftmb/status")
        answer = connection.getresponse()
        body = answer.read(_ANSWER_BYTES_MAX)
        return json.loads(body) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
