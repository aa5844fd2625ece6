"""Bars as SVG, written by hand: one file for each path, a group of bars for each size, a bar for each system."""

from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 300, 60, 40, 40
_COLOURS = {"limit": "#9aa5b1", "plain": "#7bb0a6", "protected": "#2f6690", "linux": "#d9a05b"}
_STEPS = 4


def throughput(systems, title):
    """An SVG text: packets a second by frame size and system."""
    sizes = list(next(iter(systems.values())))
    top = max(found["per_second"] for part in systems.values() for found in part.values()) or 1
    height = _HEIGHT - _TOP - _BOTTOM
    group = (_WIDTH - _LEFT - 20) / len(sizes)
    bar = group / (len(systems) + 1)
    parts = [_text(_LEFT, 20, title, "start", 14)]
    for step in range(_STEPS + 1):
        y = _TOP + height * (1 - step / _STEPS)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{top * step / _STEPS / 1000:.0f}k", "end"))
    for column, size in enumerate(sizes):
        parts.append(_text(_LEFT + group * (column + 0.5), _HEIGHT - _BOTTOM + 16, f"{size} bytes", "middle"))
        for number, (name, part) in enumerate(systems.items()):
            tall = height * part[size]["per_second"] / top
            x, y = _LEFT + group * column + bar * (number + 0.5), _TOP + height - tall
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar * 0.9:.1f}" height="{tall:.1f}" fill="{_colour(name)}"/>')
    return _document(parts + _legend(systems))


def _legend(names):
    parts = []
    for number, name in enumerate(names):
        x = _LEFT + 110 * number
        parts.append(f'<rect x="{x}" y="{_HEIGHT - 14}" width="10" height="10" fill="{_colour(name)}"/>')
        parts.append(_text(x + 14, _HEIGHT - 5, name, "start"))
    return parts


def _colour(name):
    return _COLOURS.get(name, "#555")


def _text(x, y, text, anchor, size=11):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{text}</text>'


def _document(parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" fill="#222">'
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>')
    return "\n".join([head, *parts, "</svg>", ""])


def write(directory, result):
    """Write a plot for each path into *directory*; returns the files. Raises OSError."""
    titles = {"direct": "Packets a second, three hops without a switch", "ovs": "Packets a second, three hops through Open vSwitch"}
    files = []
    for fabric, part in result["paths"].items():
        path = Path(directory) / f"bench-{fabric}.svg"
        path.write_text(throughput(part["systems"], titles[fabric]), encoding="ascii")
        files.append(str(path))
    return files
