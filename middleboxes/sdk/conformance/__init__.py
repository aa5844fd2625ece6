"""Conformance: what every function must pass to survive the death of its master.

- ``machine``  ``Machine``: a function under the real core, without network: packets in, packets out, take-overs at will
"""

from .machine import ConformanceError, Machine

__all__ = ["ConformanceError", "Machine"]
