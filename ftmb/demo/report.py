"""From what was measured to the verdict, the JSON and the words. Pure; the one place where a check is defined.

A kill is *survived* if the group is protected again with the failover on record, the probe flow goes on, every
TCP connection and UDP flow has had an answer to something sent after it, and no reset, broken connection,
changed mapping or repeated datagram was added by it.
"""

import dataclasses
import typing

from .gaps import distribution

#: New connections may fall this short of the rate asked for: the machine's, not the network's, doing.
_RATE_SHARE_MIN = 0.9


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the demo was asked to do."""

    kills: int
    connections: int
    flows: int
    new_per_s: int
    recovery: bool
    seed: int
    how: str
    spare: str = "warm"


@dataclasses.dataclass
class Kill:
    """One kill: what was seen from it until everything had answered again. Counts are those since the start."""

    node: str
    at_ns: int
    protected: bool
    failover: typing.Optional[dict]
    client: dict
    server: dict
    download_bytes: int
    gap_ms: float
    gap_end_ns: int
    probes_lost: int
    probes_after: int
    caught: int         # new connections under way between the kill and the end of the gap


@dataclasses.dataclass
class Totals:
    """The end of the run."""

    client: dict
    server: dict
    probe: dict         # sent, received, repeats, mappings_changed, quiet_ms: longest silence without a kill
    download: dict      # bytes, sha256, served_bytes, served_sha256, curl_exit, error


class Check(typing.NamedTuple):
    """One thing that had to hold, and what was seen."""

    name: str
    ok: bool
    text: str


def tcp_resets(client, server):
    """Resets that met a living connection, as far as the two kernels and the server's sockets know."""
    return max(client["kernel"]["EstabResets"] + server["kernel"]["EstabResets"], server["tcp_resets_seen"])


def tcp_resets_sent(client, server):
    """All resets that the two kernels sent.

    A segment that TCP sent again and that comes after its connection ended in order is answered with one: it
    meets nobody (RFC 9293, section 3.10.7.1), and is reported, not judged.
    """
    return client["kernel"]["OutRsts"] + server["kernel"]["OutRsts"]


def _resets_text(client, server):
    stray = tcp_resets_sent(client, server) - tcp_resets(client, server)
    return f" ({stray} answered late copies of segments of connections that had ended)" if stray > 0 else ""


def tcp_broken(client):
    """Established connections that broke and new ones that failed."""
    return client["tcp_broken"] + client["new_failed"]


def _harm(client, server):
    """Counts that no kill may raise, by what a reader calls them."""
    return {"TCP resets": tcp_resets(client, server), "broken TCP connections": tcp_broken(client),
            "changed NAT mappings": server["mappings_changed"], "NAT mappings given twice": server["mappings_shared"],
            "repeated UDP datagrams": server["udp_duplicates"],
            "damaged messages": server["bad_payloads"] + client["udp_wrong"]}


def kill_problems(wanted, kill, before):
    """Why *kill* was not survived, as a list of sentences (empty: it was). *before* is the kill before it or None."""
    problems = []
    if not kill.protected:
        problems.append("the group was not protected again in time")
    if kill.failover is None:
        problems.append("no failover is on record")
    if kill.probes_after == 0:
        problems.append("the probe flow did not go on")
    for what, key, count in (("TCP connections", "tcp_answered", wanted.connections),
                             ("UDP flows", "udp_answered_flows", wanted.flows)):
        if kill.client[key] != count:
            problems.append(f"only {kill.client[key]} of {count} {what} got an answer after it")
    if kill.download_bytes <= (before.download_bytes if before else 0):
        problems.append("the download did not go on")
    old = _harm(before.client, before.server) if before else {}
    for what, count in _harm(kill.client, kill.server).items():
        if count > old.get(what, 0):
            problems.append(f"{count - old.get(what, 0)} {what}")
    return problems


def all_problems(wanted, kills):
    """The problems of each kill, in order."""
    return [kill_problems(wanted, kill, before) for kill, before in zip(kills, [None] + kills[:-1])]


def survived(wanted, kills):
    """How many kills were survived."""
    return sum(1 for problems in all_problems(wanted, kills) if not problems)


def download_ok(totals):
    """True if curl ended well and got, bit for bit, what was served."""
    got = totals.download
    return (got["curl_exit"] == 0 and got["bytes"] > 0 and got["sha256"] == got["served_sha256"]
            and got["bytes"] == got["served_bytes"])


def mappings_changed(totals):
    """UDP flows, the probe flow among them, whose address outside was not the same throughout."""
    return totals.server["mappings_changed"] + totals.probe["mappings_changed"]


def checks(wanted, kills, totals):
    """Everything that had to hold, in the order of telling."""
    client, server, probe = totals.client, totals.server, totals.probe
    alive, resets = survived(wanted, kills), tcp_resets(client, server)
    per_s = client["new_opened"] / client["new_seconds"] if client["new_seconds"] else 0.0
    doubled = server["udp_duplicates"] + probe["repeats"]
    damaged = server["bad_payloads"] + client["udp_wrong"]
    return [
        Check("kills", alive == wanted.kills, f"{alive} of {wanted.kills} kills survived"),
        Check("established TCP",
              client["tcp_broken"] == 0 and client["tcp_closed_in_order"] == wanted.connections,
              f"{client['tcp_closed_in_order']} of {wanted.connections} TCP connections lived from beginning to end "
              f"and closed in order ({client['tcp_messages']:,} messages, each checked)" + _why(client["tcp_broken_why"])),
        Check("TCP resets", resets == 0, f"{resets} connections were reset, by the kernels' count" + _resets_text(client, server)),
        Check("new TCP",
              client["new_failed"] == 0 and client["new_left_out"] == 0 and client["new_succeeded"] == client["new_opened"]
              and per_s >= _RATE_SHARE_MIN * wanted.new_per_s,
              f"{client['new_succeeded']:,} of {client['new_opened']:,} new connections succeeded, {per_s:.0f} a second; "
              f"{sum(kill.caught for kill in kills)} were under way while the NAT was dead, "
              f"{client['new_retried']} needed TCP's retry"
              + _why(client["new_failed_why"])),
        Check("UDP flows", client["udp_answered_flows"] == wanted.flows and server["udp_flows"] == wanted.flows,
              f"{client['udp_answered_flows']} of {wanted.flows} UDP flows answered to the end "
              f"({client['udp_answered']:,} of {client['udp_sent']:,} datagrams answered)"),
        Check("NAT mappings", mappings_changed(totals) == 0 and server["mappings_shared"] == 0,
              f"{mappings_changed(totals)} NAT mappings changed, {server['mappings_shared']} given twice"),
        Check("repeats", doubled == 0 and damaged == 0, f"{doubled} datagrams came twice, {damaged} messages were damaged"),
        Check("download", download_ok(totals), _download_text(totals)),
        Check("probe flow", probe["received"] > 0,
              f"{probe['received']:,} of {probe['sent']:,} probes arrived at 1 kHz; longest silence "
              f"without a kill: {probe['quiet_ms']:.1f} ms"),
    ]


def _why(reasons):
    return "; ended by: " + ", ".join(f"{why} ({count})" for why, count in reasons.items()) if reasons else ""


def _download_text(totals):
    got = totals.download
    size = f"{got['bytes'] / 1e6:.1f} MB"
    if download_ok(totals):
        return f"a curl download of {size} spanned every kill, bit-exact"
    if got["curl_exit"] is None:
        return f"the curl download stood still after {size}"
    return (f"the curl download is not what was served: {size} of {got['served_bytes'] / 1e6:.1f} MB, "
            f"curl's exit code {got['curl_exit']}")


def held(wanted, kills, totals):
    """True if every check holds."""
    return all(check.ok for check in checks(wanted, kills, totals))


def to_json(wanted, kills, totals):
    """The result as a map for ``--json``."""
    problems = all_problems(wanted, kills)
    gaps_ms = [round(kill.gap_ms, 3) for kill in kills]
    return {
        "kills": wanted.kills, "survived": survived(wanted, kills), "client_gap_ms": gaps_ms,
        "tcp_resets": tcp_resets(totals.client, totals.server), "tcp_broken": tcp_broken(totals.client),
        "download_ok": download_ok(totals), "nat_mappings_changed": mappings_changed(totals),
        "failovers": [kill.failover for kill in kills if kill.failover is not None],
        "held": held(wanted, kills, totals), "recovery": wanted.recovery, "seed": wanted.seed, "how": wanted.how, "spare": wanted.spare,
        "tcp_resets_sent": tcp_resets_sent(totals.client, totals.server),
        "kills_done": len(kills), "client_gap_ms_distribution": distribution(gaps_ms),
        "longest_silence_without_kill_ms": round(totals.probe["quiet_ms"], 3),
        "spanning": {"tcp_connections": wanted.connections, "udp_flows": wanted.flows,
                     "new_connections_per_s": wanted.new_per_s},
        "checks": {check.name: check.ok for check in checks(wanted, kills, totals)},
        "per_kill": [{"node": kill.node, "gap_ms": gap_ms, "probes_lost": kill.probes_lost,
                      "new_connections_under_way": kill.caught,
                      "tcp_answered": kill.client["tcp_answered"], "udp_answered": kill.client["udp_answered_flows"],
                      "problems": why} for kill, gap_ms, why in zip(kills, gaps_ms, problems)],
        "traffic": {"client": totals.client, "server": totals.server, "probe": totals.probe,
                    "download": totals.download},
    }


def summary(wanted, kills, totals):
    """(text, ok) pairs: what was proved, in plain words; ok is None for what is no check."""
    lines = [(check.text, check.ok) for check in checks(wanted, kills, totals)]
    spread = distribution([kill.gap_ms for kill in kills])
    if spread:
        lines.append((f"the client's gap: median {spread['p50']:.1f} ms, 90 % below {spread['p90']:.1f} ms, "
                      f"longest {spread['max']:.1f} ms", None))
    if len(kills) < wanted.kills:
        lines.append((f"{wanted.kills - len(kills)} kills were not done: the group did not come back", None))
    return lines


def verdict(wanted, kills, totals):
    """One sentence for the end."""
    ok = held(wanted, kills, totals)
    if wanted.recovery:
        return "It held: every connection went on." if ok else "It did not hold: see the lines marked above."
    if ok:
        return "Without recovery nothing broke: this run contrasts with nothing."
    return ("This is the contrast: the same kills without recovery. A fresh middlebox took over with empty state, "
            "and connections broke.")
