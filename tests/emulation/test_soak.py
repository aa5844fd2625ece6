"""A short soak on real processes: the log is full while the store is stopped, and every packet is accounted for."""

import json
import subprocess

import pytest

from .machine import command, environment

pytestmark = [pytest.mark.emulation, pytest.mark.filterwarnings("ignore:distutils:DeprecationWarning")]
TIMEOUT_S = 150


@pytest.mark.parametrize("workers", [1, 4])
def test_memory_is_bounded_and_every_packet_accounted_for_while_the_store_is_stopped(tmp_path, workers):
    path = tmp_path / "result"
    done = subprocess.run(command("soak", "--minutes", "0.1", "--store-stopped", "4", "--workers", str(workers), "--json", str(path),
                                  "--keep", str(tmp_path / "logs")),
                          env=environment(False), cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    text = done.stdout + done.stderr
    assert path.exists(), text
    result = json.loads(path.read_text())
    assert (done.returncode, result["violations"]) == (0, []), text
    assert result["traffic"]["clients"]["received"] > 1000 and result["download"]["bytes"] > 0
    counters = result["samples"][-1]["counters"]
    assert counters["input_logger"]["dropped_log_full"] > 0
    assert result["highest"]["input_logger"]["log_bytes"] > 0.9 * result["bounds"]["input_logger.log_bytes"]
