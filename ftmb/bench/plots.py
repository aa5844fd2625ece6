"""Bars as SVG, written by hand: for each path throughput and CPU time, a group of bars for each size, a bar for each system."""

from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 300, 60, 40, 40
_COLOURS = {"limit": "#9aa5b1", "plain": "#7bb0a6", "protected": "#2f6690", "linux": "#d9a05b"}
_STEPS = 4


def throughput(systems):
    """An SVG text: packets a second by frame size and system."""
    return _bars(systems, "Packets a second at full load", "k", 1000, lambda found: [("all", found["per_second"])])


def cpu(systems):
    """An SVG text: CPU time per packet of each process and of the traffic, one on the other."""
    return _bars(systems, "CPU time per packet, us, by process (the uppermost part is the traffic's own)", "", 1,
                 lambda found: [*found["cpu_us"].items(), ("traffic", found["traffic_cpu_us"])])


def _bars(systems, title, unit, scale, parts_of):
    """Groups of bars by frame size; a bar for each system, of the parts (name, value) that *parts_of* its measurements gives."""
    sizes = list(next(iter(systems.values())))
    top = max(sum(value for _, value in parts_of(found)) for part in systems.values() for found in part.values()) or 1
    height = _HEIGHT - _TOP - _BOTTOM
    group = (_WIDTH - _LEFT - 20) / len(sizes)
    bar = group / (len(systems) + 1)
    shapes = [_text(_LEFT, 20, title, "start", 14)]
    for step in range(_STEPS + 1):
        y = _TOP + height * (1 - step / _STEPS)
        shapes.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        shapes.append(_text(_LEFT - 6, y + 4, f"{top * step / _STEPS / scale:.0f}{unit}", "end"))
    for column, size in enumerate(sizes):
        shapes.append(_text(_LEFT + group * (column + 0.5), _HEIGHT - _BOTTOM + 16, f"{size} bytes", "middle"))
        for number, (name, part) in enumerate(systems.items()):
            x, y = _LEFT + group * column + bar * (number + 0.5), _TOP + height
            for layer, (what, value) in enumerate(parts_of(part[size])):
                tall = height * value / top
                y -= tall
                shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar * 0.9:.1f}" height="{tall:.1f}" fill="{_colour(name)}"'
                              f' fill-opacity="{max(0.4, 1 - 0.15 * layer):.2f}"><title>{what} {value:.1f}</title></rect>')
    return _document(shapes + _legend(systems))


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
    """Write the plots of each path into *directory*; returns the files. Raises OSError."""
    files = []
    for fabric, part in result["paths"].items():
        for name, plot in (("throughput", throughput), ("cpu", cpu)):
            path = Path(directory) / f"bench-{fabric}-{name}.svg"
            path.write_text(plot(part["systems"]), encoding="ascii")
            files.append(str(path))
    return files
