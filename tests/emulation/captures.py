"""Captures by dumpcap, read as frames; and frames written to be replayed."""

import re
import signal
import struct
import subprocess
import time

_PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_LITTLE_ENDIAN = b"\x4d\x3c\x2b\x1a"
_NAME_OPTION = 2
_READY_S, _POLL_S = 20, 0.05


class Capture:
    """dumpcap on *interfaces* of the test's own namespace, into *file*; enter with ``with``."""

    def __init__(self, interfaces, file):
        self._interfaces, self._file = interfaces, file

    def __enter__(self):
        named = [argument for interface in self._interfaces for argument in ("-i", interface)]
        self._said = self._file.with_suffix(".log")
        with open(self._said, "wb") as said:
            # 8 MiB of kernel buffer for each: it must not lose what the network does not
            self._process = subprocess.Popen(["dumpcap", "-q", "-p", "-B", "8", "-s", "9216", *named, "-w", str(self._file)],
                                             stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        deadline = time.monotonic() + _READY_S
        while "File:" not in self._said.read_text():        # all interfaces are open then
            assert self._process.poll() is None and time.monotonic() < deadline, self._said.read_text()
            time.sleep(_POLL_S)
        return self

    def frames(self):
        """[(interface, frame)] so far."""
        return read(self._file)

    def wait_for(self, holds, timeout_s):
        """Return the frames so far once *holds* of them."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.frames()
            if holds(found):
                return found
            assert time.monotonic() < deadline, f"not captured after {timeout_s} s"
            time.sleep(_POLL_S)

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait()

    def lost(self):
        """Frames that it could not take, once it has ended."""
        found = re.findall(r"received/dropped on interface '[^']*': \d+/(\d+)", self._said.read_text())
        assert len(found) == len(self._interfaces), self._said.read_text()
        return sum(map(int, found))


def read(file):
    """[(interface, frame)] of a pcapng file in the order of time; of one that is still written, those that are complete."""
    data, at, names, found = file.read_bytes(), 0, [], []
    while at + 12 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if at + size > len(data):
            break
        body = data[at + 8:at + size - 4]
        if kind == _SECTION:
            assert body[:4] == _LITTLE_ENDIAN
        elif kind == _INTERFACE:
            names.append(_interface_name(body[8:]))
        elif kind == _PACKET:
            interface, high, low, captured, length = struct.unpack_from("<5I", body)
            assert captured == length, "a frame is cut off"
            found.append((high << 32 | low, names[interface], body[20:20 + captured]))
        at += size
    return [(interface, frame) for _, interface, frame in sorted(found, key=lambda each: each[0])]


def _interface_name(options):
    at = 0
    while at + 4 <= len(options):
        kind, size = struct.unpack_from("<HH", options, at)
        if kind == _NAME_OPTION:
            return options[at + 4:at + 4 + size].decode()
        at += 4 + size + -size % 4
    raise AssertionError("an interface without a name")


def write_pcap(file, frames):
    """Write *frames* as a pcap file, all at time 0: the replay gives them their times."""
    with open(file, "wb") as out:
        out.write(_PCAP_HEADER)
        for frame in frames:
            out.write(struct.pack("<4I", 0, 0, len(frame), len(frame)) + frame)


def read_pcap(file):
    """[frame] of a pcap file in this machine's order of bytes; of a long frame what was captured."""
    data, at, found = file.read_bytes(), len(_PCAP_HEADER), []
    assert data[:4] == _PCAP_HEADER[:4]
    while at < len(data):
        captured, = struct.unpack_from("<8xI", data, at)
        found.append(data[at + 16:at + 16 + captured])
        at += 16 + captured
    return found
