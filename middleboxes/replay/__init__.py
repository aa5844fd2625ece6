"""Bundles: what a failover leaves, and its replay without network, root or other processes.

::

    from middleboxes.replay import Bundle

    replay = Bundle.load("ftmb-nat-2-20260101T120000Z-m2.zip").replay()
    for step in replay:
        assert step.error is None, step.traceback
    assert replay.differences == []

    bundle    Bundle: what is in one, checked; load, save
    archive   the file: a zip archive, bounded, with digests
    pcapng    its inputs, as Wireshark reads them
    replay    Replay: step by step, in the order in which shared state was used; compared with the master that went on
    state     what state looks like outside: differences, digest, JSON
    errors    BundleError

Imported by middleboxes.runtime, which writes bundles, and by ``ftmb replay``; imports core, sdk and functions.
"""

from .bundle import Bundle
from .errors import BundleError
from .replay import Replay, Step

__all__ = ["Bundle", "BundleError", "Replay", "Step"]
