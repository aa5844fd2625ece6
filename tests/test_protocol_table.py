"""The table of tests in docs/protocol.md names tests and deliberate faults that exist, and each deliberate fault is in it."""

import re
from pathlib import Path

from tests.sim.test_mutations import FAULTS, name_of

ROOT = Path(__file__).resolve().parents[1]
TABLE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8").partition("## How the tests map to this")[2].partition("\n## ")[0]


def test_every_test_in_the_table_exists():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    assert len(named) > 20 and named <= defined, f"in docs/protocol.md, and nowhere else: {sorted(named - defined)}"


def test_every_deliberate_fault_is_in_the_table():
    named = set(re.findall(r"`([A-Z]\w+)`", TABLE))
    assert named == {name_of(parts) for parts, _ in FAULTS}
