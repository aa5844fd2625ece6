"""The bench's result as a table, against the targets."""

#: ratio -> (frame bytes -> bound, whether more is better, what it is)
_TARGETS = {
    "throughput_of_limit": ({64: 0.6, 1500: 0.75}, True, "throughput, protected / limit"),
    "cpu_of_limit": ({}, True, "CPU time of the whole path, limit / protected"),
    "master_cpu_to_plain": ({64: 1.10, 512: 1.10, 1500: 1.10}, False, "master's CPU per packet, protected / plain"),
    "latency_p50_to_limit": ({64: 1.5, 512: 1.5, 1500: 1.5}, False, "latency p50, protected / limit"),
    "latency_p50_to_awake_limit": ({}, False, "the same, the limit's processors awake, too"),
    "latency_p999_to_limit": ({}, False, "latency p99.9, protected / limit"),
}


def lines(result):
    """*result* (docs/performance.md) as lines of text."""
    text = []
    for fabric, part in result["paths"].items():
        text += ["", f"== {FABRICS[fabric]}", *_systems(part["systems"]), "", *_ratios(part["ratios"])]
    text += ["", "== inside, without a network", *_inside(result["inside"])]
    if "idle_percent" in result:
        text.append(f"idle: all roles together take {result['idle_percent']:.1f} % of one processor (target: below 3)")
    if result.get("checkpoints", {}).get("ratio") is not None:
        part = result["checkpoints"]
        text.append(f"latency p99.9 at {part['flows']} flows, checkpoints on / off: {part['on']['p999_us']:.0f} / {part['off']['p999_us']:.0f} us"
                    f" = {part['ratio']:.2f} (target: at most 2)")
    return text + result["notes"]


FABRICS = {"direct": "without a switch", "ovs": "through Open vSwitch"}


def _systems(measured):
    text = [f"{'':11}{'bytes':>6}{'packets/s':>11}{'lost':>6}{'p50 us':>8}{'p99 us':>8}{'p99.9':>8}   CPU us per packet"]
    for name, sizes in measured.items():
        for size, found in sizes.items():
            late = found["latency"]
            cpu = ", ".join(f"{role} {used:.1f}" for role, used in {**found["cpu_us"], "traffic": found["traffic_cpu_us"]}.items())
            text.append(f"{name:11}{size:>6}{found['per_second']:>11.0f}{found['lost']:>6.0f}{late['p50_us']:>8.0f}"
                        f"{late['p99_us']:>8.0f}{late['p999_us']:>8.0f}   {cpu}; {sum(late['cpu_us'].values()):.1f} in the roles"
                        f" and {late['traffic_cpu_us']:.1f} in the traffic at the latency's rate")
    return text


def _ratios(found):
    text = []
    for name, (bounds, more, what) in _TARGETS.items():
        cells = [_cell(found[size][name], bounds.get(size), more, size) for size in found if found[size][name] is not None]
        if cells:
            text.append(f"{what:46} {'   '.join(cells)}")
    return text


def _cell(value, bound, more, size):
    if bound is None:
        return f"{size}: {value:.2f}"
    held = value >= bound if more else value <= bound
    return f"{size}: {value:.2f} ({'held' if held else 'missed'}: {'>=' if more else '<='} {bound})"


def _inside(found):
    text = [f"{'flows':>9}{'changed':>9}{'cut p50 us':>12}{'p99':>9}{'slice p99':>11}{'end p99':>9}{'live packets/s':>16}"]
    text += [f"{row['flows']:>9}{row['changed']:>9}{row['pause_p50_us']:>12.1f}{row['pause_p99_us']:>9.1f}{row['slice_p99_us']:>11.1f}"
             f"{row['end_p99_us']:>9.1f}{row['live_per_second']:>16.0f}" for row in found["pauses"]]
    text += [f"{row['flows']:>9} flows: {row['packet_ns']:.0f} ns of the function for a packet whose flow is in no cache; longest wait for a flow that comes"
             f" {row['longest_new_ns'] / 1000:.0f} us, for one that is used {row['longest_use_ns'] / 1000:.0f} us" for row in found["flows"]]
    text += [f"cores, {row['frame_bytes']} bytes: input logger {row['input_logger_ns']:.0f} ns a packet, master {row['master_ns']:.0f}, of it the"
             f" function {row['function_ns']:.0f}, output logger {row['output_logger_ns']:.0f}" for row in found["cores"]]
    replay = found["replay"]
    text.append(f"replay: {replay['per_second']:.0f} packets/s; processing live ones in the same process: "
                f"{replay['live_per_second']:.0f}; protected's throughput above: 1/{replay['of_protected']:.2f} of the replay's")
    text += [f"determinants, {row['workers']} workers: {row['bytes_per_packet']:.1f} bytes a packet" for row in found["determinants"]]
    memory = found["memory"]
    text.append(f"memory: {memory['logged_packet_bytes']:.0f} bytes for a logged packet of 64, "
                f"{memory['flow_bytes']:.0f} for a flow at the master")
    return text
