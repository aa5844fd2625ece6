"""A kill's course as lines of text. Pure."""

#: Of a longer failover only this many steps are drawn.
STEPS_MAX = 40

_MANNER = {"process": "SIGKILL to {}", "host": "all of {} dies, its links too", "hang": "SIGSTOP to {}",
           "link": "the data link of {} goes down"}


def steps(kill, how):
    """(offset_ms, text) of everything known of *kill*, in order of time."""
    known = [(kill.at_ns, _MANNER[how].format(kill.node))]
    if kill.failover is not None:
        # what the controller saw before the kill, such as the last sign of life, is not part of its course
        known += [(step["at_ns"], step["what"]) for step in kill.failover["timeline"] if step["at_ns"] >= kill.at_ns]
    if kill.probes_after:
        known.append((kill.gap_end_ns, "the client's packets arrive again"))
    known.sort(key=lambda step: step[0])        # stable: equal times stay in the order of telling
    return [((at_ns - kill.at_ns) / 1e6, text) for at_ns, text in known[:STEPS_MAX]]


def lines(number, kill, how):
    """The drawing of kill *number*."""
    drawn = [f"kill {number}: {kill.node} dies"]
    drawn += [f"  {offset_ms:+9.1f} ms  {text}" for offset_ms, text in steps(kill, how)]
    if kill.failover is not None:
        parts = " | ".join(f"{part} {kill.failover[part + '_ms']:.1f}" for part in
                           ("detect", "fence", "redirect", "load", "replay", "total")
                           if kill.failover.get(part + "_ms") is not None)
        drawn.append(f"  in ms: {parts}; {kill.failover['replayed_packets']} packets replayed")
    drawn.append(f"  client saw a gap of {kill.gap_ms:.1f} ms ({kill.probes_lost} of its 1 kHz packets lost); "
                 f"{kill.caught} new connections were under way")
    return drawn


def brief(number, kill, total, problems):
    """Kill *number* of *total* in one line."""
    outcome = "survived" if not problems else "NOT survived: " + "; ".join(problems)
    return f"kill {number:>2}/{total}: {kill.node:<6} gap {kill.gap_ms:6.1f} ms  {outcome}"
