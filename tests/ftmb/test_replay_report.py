"""What a replay says of a packet, in a line."""

import pytest

from ftmb.replay.report import packet
from middleboxes.sdk.build import NO_MAC, arp, ipv4, udp
from middleboxes.sdk.build6 import ipv6, neighbor_solicitation

A, B = b"\x20\x01\x0d\xb8" + bytes(11) + b"\1", b"\x20\x01\x0d\xb8" + bytes(11) + b"\2"


@pytest.mark.parametrize("frame, line", [
    (arp(1, NO_MAC, 0x0A000001, NO_MAC, 0x0A000002), "42 bytes ARP request 10.0.0.1 > 10.0.0.2"),
    (ipv4(NO_MAC, NO_MAC, 17, 0x0A000001, 0x0A000002, udp(0x0A000001, 5, 0x0A000002, 53, b"")), "42 bytes UDP 10.0.0.1:5 > 10.0.0.2:53"),
    (ipv4(NO_MAC, NO_MAC, 47, 0x0A000001, 0x0A000002, b""), "34 bytes IP protocol 47 10.0.0.1 > 10.0.0.2"),
    (ipv6(NO_MAC, NO_MAC, 17, A, B, udp(A, 5, B, 53, b"")), "62 bytes UDP [2001:db8::1]:5 > [2001:db8::2]:53"),
    (neighbor_solicitation(NO_MAC, A, B), "86 bytes ICMPv6 [2001:db8::1] > [ff02::1:ff00:2]"),
    (ipv6(NO_MAC, NO_MAC, 17, A, B, b"xx")[:-1], "55 bytes Ethernet type 0x86dd"), (b"short", "5 bytes 73686f7274")])
def test_packets_of_all_kinds(frame, line):
    assert packet(frame) == line
