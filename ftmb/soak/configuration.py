"""The configuration of a soak: the named one ``single``, with a small input log and a store that is not replaced.

A stopped store is silent, so the controller would soon think it dead and replace it, and the bound that is to be reached would
not be: nodes are suspected only after *suspect_after_ms*, which is longer than the store is stopped. A dead process would still
be noticed at once.

Ticks come once a second, so that little flows at rest between the moments when the roles tell their counters (see accounts.py).
"""

import yaml

from .. import config

BASE = "single"
GROUP = "nat"
#: Small, so that it is full soon after the last checkpoint: at full load within some seconds.
LOG_BYTES_MAX = 8 << 20
#: How much longer than the store is stopped nodes may be silent.
_PATIENCE_MS = 90_000
_TICK_INTERVAL_MS = 1000


def text(workers, store_stopped_s):
    """The YAML of the configuration."""
    path = config.CONFIGURATIONS / f"{BASE}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["groups"][GROUP].update(workers=workers, log_bytes_max=LOG_BYTES_MAX, tick_interval_ms=_TICK_INTERVAL_MS)
    document["controller"]["suspect_after_ms"] = round(store_stopped_s * 1000) + _PATIENCE_MS
    return yaml.safe_dump(document, sort_keys=False)
