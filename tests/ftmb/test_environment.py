"""Ports in use are found, wherever the listener is bound."""

import ipaddress
import socket

import pytest

from ftmb import config
from ftmb.emulator import environment
from ftmb.errors import UsageError

SETTINGS = ["openflow_port", "rest_port", "control_port"]
LOOPBACK, ELSEWHERE = ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv4Address("127.0.0.2")


@pytest.mark.parametrize("address, family, seen_elsewhere", [
    ("127.0.0.1", socket.AF_INET, False), ("0.0.0.0", socket.AF_INET, True), ("::", socket.AF_INET6, True)])
def test_a_listener_is_seen(address, family, seen_elsewhere):
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        assert environment.is_listening(LOOPBACK, port)
        assert environment.is_listening(ELSEWHERE, port) == seen_elsewhere
    assert not environment.is_listening(LOOPBACK, port)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_error_names_port_and_setting(setting):
    configuration = config.load("single")
    listeners = {name: socket.create_server(("0.0.0.0", 0)) for name in SETTINGS}
    for name, listener in listeners.items():
        setattr(configuration.controller, name, listener.getsockname()[1])
        if name != setting:
            listener.close()
    with listeners[setting] as server:
        port = server.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} \(controller.{setting}\) is in use"):
            environment.check_ports(configuration)


def test_a_missing_program_names_its_package(monkeypatch):
    monkeypatch.setattr(environment.shutil, "which", lambda program: None if program == "mnexec" else program)
    with pytest.raises(UsageError, match="mnexec is missing: apt-get install mininet"):
        environment.check_programs()
