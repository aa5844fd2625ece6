"""REST without a web server: status codes, the contract's keys, and the key that removing rules needs."""

import json

from deployments import single
from fake_fabric import Fabric

from ryu_app.rest import Rest
from ryu_app.status import status

KEY = bytes(range(32))
REST = Rest(KEY, dict, lambda since: [since], lambda: True)


def test_status_has_the_keys_of_the_contract_and_is_json():
    fabric = Fabric(single())
    fabric.start()
    fabric.run()
    fabric.kill("m1")
    fabric.run()
    value = json.loads(json.dumps(status(fabric.core.context, 0, ["ryu_app.app"], 3)))
    group = value["groups"][0]
    assert set(group) >= {"name", "function", "epoch", "state", "master", "input_logger", "output_logger", "store",
                          "spares", "failovers"}
    assert set(group["failovers"][0]) >= {"role", "cause", "at", "detect_ms", "fence_ms", "load_ms", "replay_ms",
                                          "redirect_ms", "total_ms", "replayed_packets", "timeline"}
    hosts = {host["name"]: (host["role"], host["alive"]) for host in value["hosts"]}
    assert hosts["m1"] == ("idle", False) and hosts["m2"] == ("master", True) and hosts["m3"] == ("spare", True)
    assert value["controller"] == {"alive": True, "apps": ["ryu_app.app"]}


def test_status_codes():
    assert REST.handle("GET", "/ftmb/other", {}, {})[0] == 404
    assert REST.handle("POST", "/ftmb/status", {}, {})[0] == 405
    assert REST.handle("GET", "/ftmb/events", {"since": "-1"}, {})[0] == 400
    assert REST.handle("GET", "/ftmb/events", {"since": "5"}, {}) == (200, [5])


def test_rules_are_removed_only_with_the_key():
    assert REST.handle("DELETE", "/ftmb/rules", {}, {})[0] == 401
    assert REST.handle("DELETE", "/ftmb/rules", {}, {"X-FTMB-Key": "é" * 64})[0] == 401
    assert REST.handle("DELETE", "/ftmb/rules", {}, {"X-FTMB-Key": KEY.hex()}) == (200, {"removed": True})
    slow = Rest(KEY, dict, list, lambda: False)
    assert slow.handle("DELETE", "/ftmb/rules", {}, {"X-FTMB-Key": KEY.hex()})[0] == 503
