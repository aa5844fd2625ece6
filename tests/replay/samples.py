"""Bundles made of a middlebox under the real core, without network: what a failover would have left."""

import ipaddress

from middleboxes.core.determinants import DeterminantLog
from middleboxes.core.frames import decode_input
from middleboxes.replay.bundle import Bundle
from middleboxes.sdk.conformance import Machine
from middleboxes.sdk.conformance.suite import default_ports
from middleboxes.sdk.conformance.traffic import apply

NO_BOUND = 1 << 30


class Recording(Machine):
    """A Machine that remembers the checkpoint before what it is given now."""

    def bundle(self, function, end=True, **changes):
        """A Bundle from the last checkpoint to now; *end*: with the checkpoint of a master that went on."""
        before = self._store
        base = list(before.everything())
        logs, inputs = [], []
        for number, ((n, k), worker) in enumerate(zip(before.header["positions"], self.master.workers)):
            log = DeterminantLog(k)
            assert log.store(worker.log.encode(k, NO_BOUND)[0]) if worker.k > k else True
            logs.append(log)
            inputs.append([decode_input(frame)[2] for frame in self._inputs.after(number, n, NO_BOUND)[0]])
        values = dict(
            function=function, parameters=self.parameters, ports=[port_of(port) for port in self.ports], workers=self.worker_count,
            group="g", group_id=1, epoch=2, cause="failover", checkpoint_chunks=base, inputs=inputs, determinants=logs,
            recoverable=[worker.k for worker in self.master.workers], released=[set() for _ in logs],
            result_chunks=list(self.master.cut().chunks()) if end else None)
        return Bundle(**{**values, **changes})


def port_of(port):
    """A Port as a manifest has it."""
    address = ipaddress.IPv4Address(port.address)
    return {"name": port.name, "mac": port.mac.hex(":"), "address": f"{address}/{port.prefix_length}",
            "address6": [f"{ipaddress.IPv6Address(packed)}/{length}" for packed, length in port.addresses6]}


def recording(cls, parameters, steps, workers=1, skip=10, ports=None):
    """A Recording that was given *steps* of a trace, with a checkpoint after the first *skip*."""
    machine = Recording(cls, parameters, ports or default_ports(cls), workers)
    for number, step in enumerate(steps):
        if number == skip:
            machine.checkpoint()
        apply(machine, step)
    return machine
