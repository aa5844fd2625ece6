"""Conformance: what every function must pass to survive the death of its master; for tests, not for the packet path.

- ``suite``      ``CHECKS`` and ``Subject``: one parametrised line of a test runs them all
- ``machine``    ``Machine``: a function under the real core, without network: packets in, packets out, take-overs at will
- ``traffic``    seeded traffic: recorded traces, floods
- ``hostile``    damaged packets
- ``debug``      ``debugged``: the debug mode, which names the line of what a replay could not repeat
- ``code``       where the text of a function depends on the order of a set
- ``hash_seed``  the same trace in another process
"""

from .debug import DebugError, debugged
from .machine import ConformanceError, Machine
from .suite import CHECKS, Subject

__all__ = ["CHECKS", "ConformanceError", "DebugError", "Machine", "Subject", "debugged"]
