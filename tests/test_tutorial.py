"""The tutorial's files, typed in as they stand there, and the skeleton of ``ftmb new-function``: they load, conform and are a configuration."""

import pathlib
import re
import subprocess
import sys

import pytest

from ftmb import cli, config, new_function
from ftmb.errors import UsageError
from middleboxes import functions
from middleboxes.sdk import ConfigurationError
from middleboxes.sdk.conformance import Machine
from middleboxes.sdk.build import ARP_REQUEST, NO_MAC, arp, ipv4, udp

from .replay.samples import Recording
from .functions.nat_scenario import INSIDE, NS_PER_S, OUTSIDE, START_NS, ip, mac

ROOT = pathlib.Path(__file__).parents[1]


def typed_in(directory):
    """Write the tutorial's files into *directory*."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    for name, code in re.findall(r"^`(\w+\.\w+)`:\n\n```\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        (directory / name).write_text(code)


def conforms(directory, test):
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test], cwd=directory, capture_output=True, text=True,
                         timeout=300, env={"PYTHONPATH": f"{ROOT}:{directory}", "PATH": ""}, check=False)
    assert run.returncode == 0, run.stdout[-3000:]
    assert "7 passed" in run.stdout


def test_the_tutorial_s_function_conforms_and_its_configuration_is_one(tmp_path, monkeypatch):
    typed_in(tmp_path)
    conforms(tmp_path, "test_quota.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert config.read((tmp_path / "quota.yaml").read_text(), "quota.yaml").groups["box"].function == "quota:Quota"


def test_the_tutorial_s_bundle_becomes_a_test(tmp_path, monkeypatch):
    """It passes on a bundle of the quota as it is, and fails, with the line, on one of a step that raised."""
    typed_in(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    machine = Recording(functions.load("quota:Quota"), {}, [INSIDE, OUTSIDE])
    frame = ipv4(INSIDE.mac, mac("10.0.0.1"), 17, ip("10.0.0.1"), ip("192.0.2.1"), udp(ip("10.0.0.1"), 1, ip("192.0.2.1"), 2, b""))
    machine.give("inside", frame, START_NS)
    for function, passes in (("quota:Quota", True), ("broken:Quota", False)):
        (tmp_path / "broken.py").write_text((tmp_path / "quota.py").read_text().replace("packets + 1 if", "packets / 0 if"))
        with open(tmp_path / "bundle.zip", "wb") as file:
            machine.bundle(function, end=False).save(file)
        run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_replay.py"], cwd=tmp_path, capture_output=True,
                             text=True, timeout=300, env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": ""}, check=False)
        assert ("1 passed" in run.stdout) is passes and ("broken.py" in run.stdout and "ZeroDivisionError" in run.stdout) is not passes, run.stdout


def test_the_tutorial_s_quota_goes_on_after_a_kill(tmp_path, monkeypatch):
    typed_in(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    events = []
    machine = Machine(functions.load("quota:Quota"), {"packets_per_minute": 100}, [INSIDE, OUTSIDE], on_event=lambda *event: events.append(event))
    machine.give("outside", arp(ARP_REQUEST, mac("192.0.2.1"), ip("192.0.2.1"), NO_MAC, OUTSIDE.address), START_NS)
    client, server = ip("10.0.0.1"), ip("192.0.2.1")
    frame = ipv4(INSIDE.mac, mac("10.0.0.1"), 17, client, server, udp(client, 1, server, 2, b""))
    now_ns = START_NS // (60 * NS_PER_S) * 60 * NS_PER_S + 60 * NS_PER_S
    passed = 0
    for number in range(120):
        passed += len(machine.give("inside", frame, now_ns + number))
        if number == 59:
            machine.take_over()
    assert passed == 100 and events == [("quota-used-up", "10.0.0.1")]
    assert machine.give("inside", frame, now_ns + 60 * NS_PER_S)


def test_a_new_function_conforms_and_its_configuration_is_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new-function", "my-talkers"]) == 0
    assert capsys.readouterr().out.split() == ["wrote", "my_talkers.py", "wrote", "test_my_talkers.py", "wrote", "my_talkers.yaml"]
    conforms(tmp_path, "test_my_talkers.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert config.read((tmp_path / "my_talkers.yaml").read_text(), "my_talkers.yaml").groups["box"].function == "my_talkers:MyTalkers"


@pytest.mark.parametrize("name", ["", "Talkers", "2x", "a b", "../x", "a" * 41])
def test_a_new_function_needs_a_name_for_a_module(name, tmp_path):
    with pytest.raises(UsageError, match="is no name for a module"):
        new_function.write(name, tmp_path)


def test_a_new_function_overwrites_nothing(tmp_path):
    (tmp_path / "test_x.py").write_text("mine")
    with pytest.raises(UsageError, match="test_x.py is there already"):
        new_function.write("x", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test_x.py"]


def test_functions_of_other_packages_are_found_by_their_entry_points(tmp_path, monkeypatch):
    typed_in(tmp_path)
    package = tmp_path / "quota-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: quota\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[ftmb.functions]\nquota = quota:Quota\nnat = quota:Quota\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert functions.load("quota").__name__ == "Quota" and functions.load("nat").__name__ == "Nat"
    with pytest.raises(ConfigurationError, match="nat, quota, rate-limiter"):
        functions.load("quotas")
