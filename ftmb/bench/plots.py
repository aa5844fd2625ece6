"""Which charts the bench draws of its result, as SVG files."""

from pathlib import Path

from . import charts


def throughput(systems):
    """An SVG text: packets a second by frame size and system."""
    return charts.bars(_by_size(systems, lambda found: [("all", found["per_second"])]), "Packets a second at full load", "k", 1000)


def cpu(systems):
    """An SVG text: CPU time per packet of each process and of the traffic, one on the other."""
    return charts.bars(_by_size(systems, lambda found: [*found["cpu_us"].items(), ("traffic", found["traffic_cpu_us"])]),
                       "CPU time per packet, us, by process (the uppermost part is the traffic's own)")


def _by_size(systems, parts_of):
    """{frame bytes: {system: parts}} of {system: {frame bytes: measurements}}."""
    return {f"{size} bytes": {name: parts_of(sizes[size]) for name, sizes in systems.items()} for size in next(iter(systems.values()))}


def write(directory, result):
    """Write the plots of each path into *directory*; returns the files. Raises OSError."""
    return write_all(directory, {f"bench-{fabric}-{name}": plot(part["systems"]) for fabric, part in result["paths"].items()
                                 for name, plot in (("throughput", throughput), ("cpu", cpu))})


def write_all(directory, plots):
    """Write *plots*, {name: SVG text}, into *directory*; returns the files. Raises OSError."""
    files = []
    for name, text in plots.items():
        path = Path(directory) / f"{name}.svg"
        path.write_text(text, encoding="ascii")
        files.append(str(path))
    return files
