"""Good messages, to make bad ones of."""

ADDRESS = ["127.0.0.1", 9]
PORTS = [{"name": "inside", "mac": "02:00:5e:00:01:01", "address": "10.0.0.254/24", "address6": ["2001:db8:1::fe/64"], "peer": None},
         {"name": "outside", "mac": "02:00:5e:00:01:02", "address": "192.0.2.254/24", "peer": None}]
LOGGER = {"group_id": 1, "workers": 1, "ports": []}
INPUT_LOGGER = {**LOGGER, "function": "nat", "tick_interval_ms": 100, "log_bytes_max": 10_000, "start": [0], "start_ns": 0, "master_epoch": 1}
MASTER = {"group_id": 1, "workers": 1, "ports": PORTS, "function": "nat", "parameters": {"external_addresses": ["192.0.2.254"]},
          "checkpoint_interval_ms": 100, "store": ADDRESS}
SERVICES = [{"t": "subscribe", "group": "nat", "have": 0, "follow": True, "headers": False},
            {"t": "subscribe", "group": "nat", "have": 0, "follow": False, "headers": True},
            {"t": "inputs", "group": "nat", "after": [0]}, {"t": "determinants", "group": "nat", "after": [0], "to": [1]},
            {"t": "follow_inputs", "group": "nat", "after": [0]}, {"t": "unfollow_inputs", "group": "nat"},
            {"t": "follow_determinants", "group": "nat", "after": [0]}, {"t": "unfollow_determinants", "group": "nat"},
            {"t": "stored", "group": "nat", "id": 1}, {"t": "beat", "roles": []}]
REQUESTS = [("store", {}), ("input-logger", INPUT_LOGGER), ("output-logger", {**LOGGER, "covered_from": 0}), ("master", {**MASTER, "start": [0], "inputs_from": 1}),
            ("spare", {**MASTER, "input_logger": ADDRESS, "output_logger": ADDRESS, "hot": True}), ("fence", {"role": "store"}),
            ("recover", {"stored": [0], "positions": [[0, 0]], "input_logger": ADDRESS, "output_logger": ADDRESS, "store": ADDRESS, "cold": True, "inputs_from": 1, "cause": "x"}),
            ("use-store", {"store": ADDRESS}), ("use-output-logger", {"output_epoch": 1}), ("stop", {}), ("bundle", {"store": ADDRESS, "input_logger": ADDRESS, "output_logger": ADDRESS}), ("restart", {}), ("retire", {"role": "master"})]

MESSAGES = [
    {"t": "hello", "node": "m1", "boot": 1, "service": ["10.0.0.1", 9778], "roles": [{"group": "nat", "role": "master", "epoch": 3}]},
    {"t": "beat", "roles": [{"group": "nat", "role": "master", "epoch": 1, "counters": {"processed": 5}}]},
    {"t": "reply", "id": 1, "ok": True, "error": "", "result": {"stored": [7]}},
    {"t": "event", "name": "live", "group": "nat", "epoch": 1, "detail": {"load_ms": 1.0, "replay_ms": 1.0, "replayed_packets": 3}},
    {"t": "request", "id": 1, "do": "fence", "group": "nat", "epoch": 2, "args": {"role": "store"}},
    {"t": "checkpoint", "group": "nat", "epoch": 1, "id": 1, "base": 0, "last": False, "data": b"x" * 50},
    {"t": "subscribe", "group": "nat", "have": 0, "follow": True, "headers": True},
    {"t": "inputs", "group": "nat", "after": [0]},
    {"t": "determinant_batch", "group": "nat", "worker": 0, "data": b"x", "released": b"", "end": True},
    {"t": "followed_inputs", "group": "nat", "begin": [0], "frames": [b"x"]},
    {"t": "followed_determinants", "group": "nat", "begin": [], "covered": [0], "batches": [[0, b"x"]]},
    {"t": "followed_end", "group": "nat", "epoch": 2, "worker": 0, "stored": [1], "released": b"", "last": True},
]
