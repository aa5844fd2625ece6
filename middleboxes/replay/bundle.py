"""A bundle: all that repeats what a master did between two checkpoints, in one file.

::

    manifest.json     what it is of: function, parameters, ports, workers, group, epoch, cause, positions; digests of the parts
    checkpoint.bin    the checkpoint where it begins, in chunks as a spare loads them: a base, and what deltas the store had on it
    inputs.pcapng     what the input logger had logged since: one interface for each port and one for ticks; of a packet
                      ``epb_queue`` is its worker and ``epb_packetid`` its n
    determinants.bin  what the output logger had stored since, encoded as on the wire
    released.bin      which outputs had left: keys k << 16 | j
    result.bin        the checkpoint where it ends, made by the master that went on: its changes since the first one (or a base).
                      Without it nobody came that far: then there are all inputs that were logged, also those of no determinant

A part but for the inputs is a row of records: worker:u8 length:u32 bytes. Nothing in a bundle is ever unpickled or evaluated.
"""

import heapq
import struct
from dataclasses import dataclass, field
from functools import cached_property

from ..core.channel import pack
from ..core.checkpoint import Checkpoint, CheckpointError, decode_chunk
from ..core.determinants import DeterminantError, DeterminantLog
from ..core.frames import PACKET, STEP_MAX, TICK, WORKERS_MAX, FrameError, Input
from ..core.messages import VERSION
from ..core.outputlog import pack_keys, unpack_keys
from ..sdk import ConfigurationError, Port
from . import archive, pcapng
from .errors import BundleError
from .replay import Replay

FORMAT, FORMAT_VERSION = "ftmb-bundle", 1
CAUSES = ("failover", "function-error")
PORTS_MAX = 32
_TICKS = "ticks"
_NO_HEADER = pack([None, []])[:2]       # how a chunk begins that is not a checkpoint's first
_RECORD = struct.Struct(">BI")
_TEXT_CHARS_MAX = 4096
_EPOCH_MAX, _NUMBER_MAX = (1 << 32) - 1, (1 << 63) - 1
_TEXTS = ("node", "group", "function", "cause", "detail", "software")
_NUMBERS = {"group_id": (1, 0xFFFF), "workers": (1, WORKERS_MAX), "epoch": (0, _EPOCH_MAX), "created_ns": (0, _NUMBER_MAX)}


@dataclass
class Bundle:
    """What is in a bundle.

    - *function*, *parameters*, *workers*, *group*, *group_id*: of the group, and *ports*: [{"name", "mac", "address", "address6"}, ...],
      texts, the last one a list of them that may be missing
    - *epoch*: of the master that went on; *cause*: one of CAUSES; *detail*: in words; *node*: who wrote it; *created_ns*: Unix time
    - *header*: of the checkpoint where it begins; *result_header*: of the one where it ends, or None; the whole of them, decoded, which
      may be large: *checkpoints* [Checkpoint, ...], a base and deltas on it, and *result*
    - *inputs*: per worker [Input, ...] in order of n; *determinants*: per worker a DeterminantLog
    - *recoverable*: per worker the last step of which the dead master's determinants are stored
    - *released*: per worker the keys (k << 16 | j) of outputs that had left
    """

    function: str
    parameters: dict
    ports: list
    workers: int
    group: str
    group_id: int
    epoch: int
    cause: str
    checkpoint_chunks: list
    inputs: list
    determinants: list
    recoverable: list
    released: list
    result_chunks: list = None
    detail: str = ""
    node: str = ""
    created_ns: int = 0
    software: str = ""
    header: dict = field(init=False)
    result_header: dict = field(init=False, default=None)
    #: the ports as a middlebox takes them
    parsed_ports: list = field(init=False)

    def __post_init__(self):
        headers = _headers(self.checkpoint_chunks, "checkpoint")
        self.header, durable = headers[-1], 0
        for header in headers:
            if header["base"] != durable:
                raise BundleError(f"its checkpoint has a delta on {header['base']} where one on {durable} belongs")
            durable = header["id"]
        if self.result_chunks is not None:
            self.result_header, *more = _headers(self.result_chunks, "result")
            if more:
                raise BundleError("its result is more than one checkpoint")
        try:
            self.parsed_ports = [Port.parse(port["name"], port["mac"], port["address"], port.get("address6", ())) for port in self.ports]
        except ConfigurationError as error:
            raise BundleError(str(error)) from error
        self._check()

    @cached_property
    def checkpoints(self):
        """The Checkpoints where it begins. Raises BundleError."""
        return _checkpoints(self.checkpoint_chunks, "checkpoint")

    @cached_property
    def result(self):
        """The Checkpoint where it ends, or None. Raises BundleError."""
        return None if self.result_chunks is None else _checkpoints(self.result_chunks, "result")[0]

    @classmethod
    def load(cls, path):
        """The bundle in the file at *path*. Raises BundleError."""
        manifest, parts = archive.read(path)
        try:
            bundle = _decode(manifest, parts)
            bundle.checkpoints, bundle.result       # decoded here, so that what can't be is refused here
            return bundle
        except BundleError as error:
            raise BundleError(f"{path} is no bundle that can be used: {error}") from error

    def save(self, file):
        """Write it to a binary *file*. Raises BundleError if it is too large, OSError."""
        manifest = {"format": FORMAT, "version": FORMAT_VERSION, "protocol": VERSION,
                    **{name: getattr(self, name) for name in (*_TEXTS, *_NUMBERS, "parameters", "ports", "recoverable")}}
        logged = [[(worker, log.encode(log.trimmed, archive.CONTENT_BYTES_MAX)[0])] for worker, log in enumerate(self.determinants)]
        parts = {"checkpoint.bin": _encode_records((0, data) for data in self.checkpoint_chunks),
                 "inputs.pcapng": b"".join(pcapng.encode(self._interfaces(), self._captured())),
                 "determinants.bin": _encode_records(record for records in logged for record in records if record[1]),
                 "released.bin": _encode_records((worker, pack_keys(keys)) for worker, keys in enumerate(self.released) if keys)}
        if self.result_chunks is not None:
            parts["result.bin"] = _encode_records((0, data) for data in self.result_chunks)
        archive.write(file, manifest, parts)

    def replay(self, function=None):
        """A Replay of it. *function*: a Middlebox class, or a name, instead of the one that made it. Raises BundleError."""
        return Replay(self, function)

    def _interfaces(self):
        ethernet = [pcapng.Interface(port["name"], pcapng.LINKTYPE_ETHERNET, f"port {number} of group {self.group}")
                    for number, port in enumerate(self.ports)]
        return [*ethernet, pcapng.Interface(_TICKS, pcapng.LINKTYPE_USER0, "ticks: no packet, only their time")]

    def _captured(self):
        """All inputs in order of time."""
        ticks = len(self.ports)
        for timestamp_ns, worker, n, (_, _, port, kind, frame) in heapq.merge(
                *([(item.timestamp_ns, worker, item.n, item) for item in items] for worker, items in enumerate(self.inputs))):
            if kind == TICK and (port or frame) or port >= ticks:
                raise BundleError(f"input {n} of worker {worker} has no place in a bundle: kind {kind}, port {port}")
            yield pcapng.Captured(ticks if kind == TICK else port, timestamp_ns, frame, n, worker, f"worker {worker}, input {n}")

    def _check(self):
        """Raise BundleError if parts contradict each other."""
        header = self.header
        if not header["function"].isidentifier():
            raise BundleError(f"its checkpoint is of {header['function']!r:.80}, which is no class")
        for what, found in (("checkpoint", header["positions"]), ("inputs", self.inputs), ("determinants", self.determinants),
                            ("recoverable prefix", self.recoverable), ("released outputs", self.released)):
            if len(found) != self.workers:
                raise BundleError(f"its {what} is of {len(found)} workers, the group has {self.workers}")
        for worker, ((_, k), log) in enumerate(zip(header["positions"], self.determinants)):
            if k > STEP_MAX:
                raise BundleError(f"its checkpoint ends at step {k}: there is no such")
            if log.trimmed != k:
                raise BundleError(f"its determinants of worker {worker} begin after step {log.trimmed}, the checkpoint ends at {k}")
            if self.recoverable[worker] > log.last:
                raise BundleError(f"its recoverable prefix ends at step {self.recoverable[worker]} of worker {worker}, its determinants at {log.last}")
        for worker, items in enumerate(self.inputs):
            last_n = 0
            for item in items:
                if item.n <= last_n:
                    raise BundleError(f"its inputs of worker {worker} have number {item.n} after {last_n}")
                last_n = item.n
        if self.result_header is not None:
            self._check_result(header, self.result_header)

    def _check_result(self, header, last):
        if last["base"] not in (0, header["id"]) or last["function"] != header["function"]:
            raise BundleError(f"its result builds on checkpoint {last['base']} of {last['function']}, its checkpoint is {header['id']}"
                              f" of {header['function']}")
        if len(last["positions"]) != self.workers:
            raise BundleError("its result is of another number of workers")
        for worker, ((_, k), log) in enumerate(zip(last["positions"], self.determinants)):
            if not log.trimmed <= k <= log.last:
                raise BundleError(f"its result is at step {k} of worker {worker}, its determinants are of {log.trimmed} to {log.last}")


def _encode_records(records):
    return b"".join(_RECORD.pack(worker, len(data)) + data for worker, data in records)


def _decode_records(data, what):
    """[(worker, bytes)] of a part. Raises BundleError."""
    offset, found = 0, []
    while offset < len(data):
        if offset + _RECORD.size > len(data):
            raise BundleError(f"its {what} is cut off")
        worker, size = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size
        if size > len(data) - offset:
            raise BundleError(f"its {what} is cut off")
        found.append((worker, data[offset:offset + size]))
        offset += size
    return found


def _headers(chunks, what):
    """The headers of the checkpoints in *chunks*, at least one, without decoding what has none. Raises BundleError."""
    try:
        headers = [decode_chunk(data)[0] for data in chunks if data[:2] != _NO_HEADER]
    except CheckpointError as error:
        raise BundleError(f"its {what} can't be used: {error}") from error
    if not headers or chunks[0][:2] == _NO_HEADER or None in headers:
        raise BundleError(f"its {what} does not begin with a header")
    return headers


def _checkpoints(chunks, what):
    """The Checkpoints in *chunks*, at least one: each begins with its header. Raises BundleError."""
    found = []
    try:
        for data in chunks:
            header, records = decode_chunk(data)
            if header is not None:
                found.append(Checkpoint(header, []))
            if not found:
                raise CheckpointError("it does not begin with a header")
            found[-1].records.extend(records)
    except CheckpointError as error:
        raise BundleError(f"its {what} can't be used: {error}") from error
    return found


def _decode(manifest, parts):
    _check_manifest(manifest)
    for name in ("checkpoint.bin", "inputs.pcapng", "determinants.bin", "released.bin"):
        if name not in parts:
            raise BundleError(f"it has no {name}")
    workers = manifest["workers"]
    chunks = [data for _, data in _decode_records(parts["checkpoint.bin"], "checkpoint")]
    positions = _positions(chunks, workers)
    result = [data for _, data in _decode_records(parts["result.bin"], "result")] if "result.bin" in parts else None
    return Bundle(
        **{name: manifest[name] for name in (*_TEXTS, *_NUMBERS, "parameters", "ports", "recoverable")},
        checkpoint_chunks=chunks, result_chunks=result, inputs=_inputs(parts["inputs.pcapng"], workers, manifest["ports"]),
        determinants=_determinants(parts["determinants.bin"], [k for _, k in positions]),
        released=_released(parts["released.bin"], workers))


def _positions(chunks, workers):
    """Where the last checkpoint in *chunks* ends: [(n, k) per worker]."""
    positions = _headers(chunks, "checkpoint")[-1]["positions"]
    if len(positions) != workers:
        raise BundleError(f"its checkpoint is of {len(positions)} workers, the group has {workers}")
    return positions


def _check_manifest(manifest):
    """Raise BundleError unless every field is there, and of its type and range."""
    if manifest.get("format") != FORMAT:
        raise BundleError("its manifest is not one of a bundle")
    for name, known in (("version", FORMAT_VERSION), ("protocol", VERSION)):
        if type(manifest.get(name)) is not int or manifest[name] != known:
            raise BundleError(f"its {name} is {manifest.get(name)!r:.80}, this reads {known}")
    for name in _TEXTS:
        if not isinstance(manifest.get(name), str) or len(manifest[name]) > _TEXT_CHARS_MAX:
            raise BundleError(f"its manifest has no valid {name!r}")
    for name, (low, high) in _NUMBERS.items():
        if type(manifest.get(name)) is not int or not low <= manifest[name] <= high:
            raise BundleError(f"its manifest has no valid {name!r}: a number from {low} to {high}")
    if manifest["cause"] not in CAUSES or not isinstance(manifest.get("parameters"), dict):
        raise BundleError("its manifest has no valid 'cause' or 'parameters'")
    ports = manifest.get("ports")
    if not isinstance(ports, list) or not 1 <= len(ports) <= PORTS_MAX or not all(map(_is_port, ports)):
        raise BundleError("its manifest has no valid 'ports'")
    recoverable = manifest.get("recoverable")
    if not isinstance(recoverable, list) or any(type(k) is not int or not 0 <= k <= STEP_MAX for k in recoverable):
        raise BundleError("its manifest has no valid 'recoverable'")


def _is_port(port):
    if not isinstance(port, dict) or set(port) - {"address6"} != {"name", "mac", "address"}:
        return False
    texts6 = port.get("address6", [])
    return isinstance(texts6, list) and len(texts6) <= PORTS_MAX and all(
        isinstance(text, str) and len(text) <= _TEXT_CHARS_MAX for text in (port["name"], port["mac"], port["address"], *texts6))


def _inputs(data, workers, ports):
    """Per worker its inputs, in order of n."""
    try:
        interfaces, packets = pcapng.decode(data)
    except BundleError as error:
        raise BundleError(f"its inputs.pcapng can't be used: {error}") from error
    if [interface.name for interface in interfaces] != [*(port["name"] for port in ports), _TICKS]:
        raise BundleError("its inputs.pcapng has not the ports of the group as interfaces")
    found = [[] for _ in range(workers)]
    for interface, timestamp_ns, frame, n, worker, _ in packets:
        if worker >= workers:
            raise BundleError(f"its inputs.pcapng has input {n} of worker {worker}: there is no such")
        is_tick = interface == len(ports)
        found[worker].append(Input(n, timestamp_ns, 0 if is_tick else interface, TICK if is_tick else PACKET, frame))
    return found


def _determinants(data, after):
    """Per worker its DeterminantLog after step *after*."""
    logs = [DeterminantLog(k) for k in after]
    for worker, encoded in _decode_records(data, "determinants"):
        try:
            if worker >= len(logs) or not logs[worker].store(encoded):
                raise BundleError(f"its determinants of worker {worker} have a gap, or no place")
        except DeterminantError as error:
            raise BundleError(f"its determinants can't be used: {error}") from error
    return logs


def _released(data, workers):
    found = [set() for _ in range(workers)]
    for worker, keys in _decode_records(data, "released outputs"):
        if worker >= workers:
            raise BundleError(f"its released outputs are of worker {worker}: there is no such")
        try:
            found[worker].update(unpack_keys(keys))
        except FrameError as error:
            raise BundleError(f"its released outputs can't be used: {error}") from error
    return found
