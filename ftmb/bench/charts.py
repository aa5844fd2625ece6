"""Charts as SVG, written by hand: bars in groups, each of parts one on the other, and lines over a logarithmic axis."""

import math

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 640, 300, 60, 40, 40
_COLOURS = {"limit": "#9aa5b1", "limit-awake": "#c9d1d9", "plain": "#7bb0a6", "protected": "#2f6690", "linux": "#d9a05b",
            "hot": "#2f6690", "warm": "#7bb0a6", "cold": "#9aa5b1"}
_MORE_COLOURS = ("#2f6690", "#7bb0a6", "#d9a05b", "#9aa5b1", "#a05b7b", "#555")
_STEPS = 4


def bars(groups, title, unit="", scale=1):
    """Bars: *groups* is {name of a group: {name of a bar: [(name of a part, value)]}}; values are told in *unit* of *scale*."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    top = max(sum(value for _, value in parts) for group in groups.values() for parts in group.values()) or 1
    height = _HEIGHT - _TOP - _BOTTOM
    wide = (_WIDTH - _LEFT - 20) / len(groups)
    bar = wide / (len(names) + 1)
    shapes = _frame(title, top, unit, scale)
    for column, (label, group) in enumerate(groups.items()):
        shapes.append(_text(_LEFT + wide * (column + 0.5), _HEIGHT - _BOTTOM + 16, label, "middle"))
        for number, (name, parts) in enumerate(group.items()):
            x, y = _LEFT + wide * column + bar * (number + 0.5), _TOP + height
            for layer, (what, value) in enumerate(parts):
                tall = height * value / top
                y -= tall
                shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar * 0.9:.1f}" height="{tall:.1f}" fill="{_colour(name, number)}"'
                              f' fill-opacity="{max(0.4, 1 - 0.15 * layer):.2f}"><title>{what} {value:.1f}</title></rect>')
    return _document(shapes + _legend(names))


def lines(series, title, what, unit="", scale=1):
    """Lines: *series* is {name: [(x, y)]}, x above 0 and rising; *what* the axis of x tells. One x is one mark."""
    points = [point for line in series.values() for point in line]
    top = max(y for _, y in points) or 1
    least, most = (math.log10(end(x for x, _ in points)) for end in (min, max))
    height, wide = _HEIGHT - _TOP - _BOTTOM, _WIDTH - _LEFT - 60

    def place(x, y):
        part = (math.log10(x) - least) / (most - least) if most > least else 0.5
        return _LEFT + 20 + wide * part, _TOP + height * (1 - y / top)

    shapes = _frame(title, top, unit, scale)
    for x in sorted({x for x, _ in points}):
        shapes.append(_text(place(x, 0)[0], _HEIGHT - _BOTTOM + 16, f"{x:,}", "middle"))
    shapes.append(_text(_WIDTH - 20, _HEIGHT - 5, what, "end"))
    for number, (name, line) in enumerate(series.items()):
        colour = _colour(name, number)
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        shapes += ['<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"><title>{}</title></circle>'.format(*place(x, y), colour, f"{name} {y:.2f}")
                   for x, y in line]
    return _document(shapes + _legend(series))


def _frame(title, top, unit, scale):
    height = _HEIGHT - _TOP - _BOTTOM
    shapes = [_text(_LEFT, 20, title, "start", 14)]
    digits = 0 if top / scale >= 2 * _STEPS else 1
    for step in range(_STEPS + 1):
        y = _TOP + height * (1 - step / _STEPS)
        shapes.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        shapes.append(_text(_LEFT - 6, y + 4, f"{top * step / _STEPS / scale:.{digits}f}{unit}", "end"))
    return shapes


def _legend(names):
    parts = []
    for number, name in enumerate(names):
        x = _LEFT + 110 * number
        parts.append(f'<rect x="{x}" y="{_HEIGHT - 14}" width="10" height="10" fill="{_colour(name, number)}"/>')
        parts.append(_text(x + 14, _HEIGHT - 5, name, "start"))
    return parts


def _colour(name, number):
    return _COLOURS.get(name, _MORE_COLOURS[number % len(_MORE_COLOURS)])


def _text(x, y, text, anchor, size=11):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{text}</text>'


def _document(parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" fill="#222">'
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>')
    return "\n".join([head, *parts, "</svg>", ""])
