"""Growth: the tables and charts of a result, and whose CPU time is counted as which role's."""

from xml.etree import ElementTree

import pytest

from ftmb.bench import growth
from ftmb.bench.gap import configuration


def cpu(master_us):
    return {"input-logger": 4.0, "master": master_us, "output-logger": 5.0, "store": 1.0}


def late(**more):
    return {"p50_us": 100.0, "p99_us": 200.0, "p999_us": 300.0, "lost": 0, **more}


RESULT = {"idle_percent": 2.5, "rates": [late(rate=1000, cpu_us=cpu(30.0)), late(rate=30_000, cpu_us=cpu(10.0))],
          "new_flows": [late(rate=1000, cpu_us=cpu(40.0))],
          "flows": [{"flows": 1000, "on": late(), "off": late(p999_us=150.0), "ratio": 2.0, "cpu_us": cpu(10.0)},
                    {"flows": 1_000_000, "on": late(), "off": None, "ratio": None, "cpu_us": cpu(30.0)}],
          "groups": [{"groups": count, "idle_percent": {**cpu(0.5), "spare": 0.4}, "cpu_us": cpu(10.0)} for count in (1, 4)]}


def test_the_table_compares_the_sums_of_all_roles():
    text = "\n".join(growth.lines(RESULT))
    assert "30,000 / 1,000 packets a second: 0.50" in text
    assert "1,000,000 / 1,000 flows: 2.00" in text and "4 groups / 1: 1.00" in text
    few, many = [line.split() for line in text.splitlines() if line.startswith(("      1000", "   1000000"))][-2:]
    assert few[-2:] == ["150", "2.00"] and many[-2:] == ["-", "-"]


def test_each_role_has_a_line_in_each_chart():
    made = growth.drawn(RESULT)
    assert set(made) == {f"bench-growth-{name}" for name in ("rate", "flows", "groups", "latency")}
    for name, text in made.items():
        lines = list(ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}polyline"))
        assert len(lines) == (3 if name.endswith("latency") else len(growth.ROLES))
        assert all(len(line.get("points").split()) == 2 for line in lines)


def test_higher_is_more_in_a_chart_of_lines():
    (line,) = ElementTree.fromstring(growth.charts.lines({"x": [(10, 1.0), (100, 4.0), (1000, 2.0)]}, "", "")).iter(
        "{http://www.w3.org/2000/svg}polyline")
    (_, low), (_, high), (_, middle) = (map(float, point.split(",")) for point in line.get("points").split())
    base = 2 * middle - high            # the axis is as far below the half as the top is above it
    assert base - low == pytest.approx((base - high) / 4, abs=0.2)


def test_every_node_s_time_belongs_to_one_role():
    read = configuration.by_role({"il": 1, "ol": 2, "st": 3, "m1": 4, "m2": 5, "m3": 6, "m4": 7, "controller": 8}, 2)
    assert read == {"input-logger": 1, "output-logger": 2, "store": 3, "master": 9, "spare": 13, "controller": 8}
