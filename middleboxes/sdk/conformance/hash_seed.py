"""What a function does with a trace, told as a digest by another process with another hash seed.

    python -m middleboxes.sdk.conformance.hash_seed < JSON        prints the digest

The class must be importable there by its module and name; its parameters must be of JSON.
"""

import hashlib
import importlib
import json
import os
import subprocess
import sys

from ..middlebox import Port
from . import traffic
from .machine import ConformanceError, Machine

_TIMEOUT_S = 300


def digest_elsewhere(subject, hash_seed):
    """The digest of *subject*'s outputs and state over its trace, in a new process. Raises ConformanceError."""
    ports = [[port.name, port.mac.hex(), port.address, port.prefix_length, [[address.hex(), length] for address, length in port.addresses6]]
             for port in subject.ports]
    steps = [[step.now_ns, step.port, step.frame.hex()] for step in subject.trace]
    order = json.dumps([subject.cls.__module__, subject.cls.__qualname__, subject.parameters, ports, subject.seed, steps])
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    run = subprocess.run([sys.executable, "-m", __name__], input=order, capture_output=True, text=True, timeout=_TIMEOUT_S,
                         env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": path}, check=False)
    if run.returncode:
        raise ConformanceError(f"{subject.cls.__name__} can't be run in another process: {run.stderr.strip()[-1000:]}")
    return run.stdout


def _digest(order):
    module, name, parameters, ports, seed, steps = order
    cls = importlib.import_module(module)
    for part in name.split("."):
        cls = getattr(cls, part)
    ports = [Port(port, bytes.fromhex(mac), *rest, tuple((bytes.fromhex(address), length) for address, length in addresses6))
             for port, mac, *rest, addresses6 in ports]
    total = hashlib.sha256()
    machine = Machine(cls, parameters, ports, 1, seed)
    for now_ns, port, frame in steps:
        total.update(repr(traffic.apply(machine, traffic.Step(now_ns, port, bytes.fromhex(frame)))).encode())
    total.update(repr([(item, list(variable.items()) if hasattr(variable, "items") else variable.value)
                       for item, variable in machine.function.variables.items()]).encode())
    return total.hexdigest()


if __name__ == "__main__":
    print(_digest(json.load(sys.stdin)))
