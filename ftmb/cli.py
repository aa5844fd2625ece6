"""The command line: arguments, help, exit codes. ``commands`` does the work.

Exit codes: 0 it held; 1 it ran and did not hold; 2 usage, configuration or environment; 130 interrupted.
A new command is a function that takes the parsed arguments and returns the exit code, and an entry in ``_PARSERS``.
"""

import argparse
import signal
import sys

from . import commands, config
from .emulator.report import ROLES, TRUNK, WAYS
from .errors import UsageError

INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def program():
    """``main`` as a process: ends it. Once the command is done nothing is left to be interrupted, nor anybody to be told of it."""
    try:
        code = main()
        _ignore_signals()
    except KeyboardInterrupt:       # between these two
        _ignore_signals()
        code = INTERRUPTED
    sys.exit(code)


def _ignore_signals():
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def main(argv=None):
    """Run the command line *argv* (sys.argv by default); the exit code."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        argv = sys.argv[1:] if argv is None else argv
        arguments = _parser(argv).parse_args(argv)
        return arguments.run(arguments)
    except UsageError as error:
        print(f"ftmb: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to be said, not even by the interpreter's last flush.
        sys.stdout = None
        return 1


def _interrupt(_number, _frame):
    raise KeyboardInterrupt


def _parser(argv):
    parser = argparse.ArgumentParser(
        prog="ftmb", description="Fault tolerance for middleboxes on SDN, in an emulated network.",
        epilog="example: ftmb up single && ftmb kill nat master && ftmb status; ftmb down")
    choices = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, text, example, add_arguments) in _PARSERS.items():
        command = choices.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.",
                                     epilog=f"example: {example}")
        command.set_defaults(run=run)
        if argv[:1] == [name]:
            # only now: the demonstration's arguments cost an import
            add_arguments(command)
    return parser


def _up(parser):
    parser.add_argument("configuration", metavar="NAME-or-FILE",
                        help=f"a named configuration ({', '.join(config.names())}) or a YAML file")
    parser.add_argument("--ryu-app", action="append", default=[], metavar="MODULE",
                        help="a Ryu app for the same process, may be repeated (default: ryu.app.simple_switch_13)")
    parser.add_argument("--bundles", metavar="DIRECTORY",
                        help="let each failover leave a bundle there, for `ftmb replay` (as the setting bundles.directory)")
    parser.add_argument("--no-recovery", action="store_true",
                        help="leave dead masters' state lost, to see the difference")


def _status(parser):
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--wait", metavar="STATE", choices=commands.STATES,
                        help=f"wait until every group is in this state: {', '.join(commands.STATES)}")
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=30.0,
                        help="how long to wait, in seconds (default: 30)")


def _exec(parser):
    parser.add_argument("host", metavar="HOST", help="a host or node of the network")
    parser.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER, help="the command, after --")


def _kill(parser):
    parser.add_argument("group", metavar="GROUP", help="the group, or - for the controller and for links between switches")
    parser.add_argument("role", metavar="ROLE", type=_victim,
                        help=f"{', '.join(ROLES)}; with the group -: controller, or a link between switches such as link:s1-s2")
    parser.add_argument("--how", choices=WAYS, default="process",
                        help="process: SIGKILL (default); host: process and all links; hang: SIGSTOP; "
                             "link: the data link goes down")


def _heal(parser):
    parser.add_argument("host", metavar="HOST", nargs="?",
                        help="a node, controller, or a link between switches such as link:s1-s2 (default: everything)")


def _move(parser):
    parser.add_argument("group", metavar="GROUP", help="the group whose master moves")
    parser.add_argument("--to", metavar="HOST", help="the node that becomes master, one of the group's pool (default: its spare)")
    parser.add_argument("--reload", action="store_true",
                        help="start the new master's process anew first, so that it loads the middlebox's code as it is on disk now")
    parser.add_argument("--json", action="store_true", help="tell the result as JSON")


def _drain(parser):
    parser.add_argument("host", metavar="HOST", help="a node of the network")


def _decide(parser):
    parser.add_argument("group", metavar="GROUP", help="a group whose state is lost")
    parser.add_argument("policy", metavar="POLICY", choices=commands.POLICIES,
                        help="last-checkpoint: go on from the last durable checkpoint; empty: begin anew")


def _nothing(_parser):
    """A command without arguments."""


def _new_function(parser):
    parser.add_argument("name", metavar="NAME", help="name of the module to be: lower-case letters, digits and _")


def _demo(parser):
    from .demo import run
    run.add_arguments(parser)


def _chaos(parser):
    from .chaos import run
    run.add_arguments(parser)


def _bench(parser):
    from .bench import run
    run.add_arguments(parser)


def _soak(parser):
    from .soak import run
    run.add_arguments(parser)


def _replay(parser):
    from .replay import run
    run.add_arguments(parser)


def _victim(text):
    if text not in (*ROLES, "controller") and not text.startswith(TRUNK):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(ROLES)}, controller, {TRUNK}A-B")
    return text


def _seconds(text):
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value


_seconds.__name__ = "number"        # argparse names it in its messages


_PARSERS = {
    "up": (commands.up, "start an emulated network, the controller and all roles", "ftmb up single", _up),
    "status": (commands.status, "show what runs where, each group's state, the failovers so far",
               "ftmb status --wait protected --timeout 10", _status),
    "exec": (commands.execute, "run a command in a host of the network", "ftmb exec client1 -- ping -c 3 192.0.2.1", _exec),
    "kill": (commands.kill, "kill whoever has a role now", "ftmb kill nat master --how host", _kill),
    "move": (commands.move, "move a group's master to another node, without losing a packet",
             "ftmb move nat --to m3 --reload", _move),
    "drain": (commands.drain, "give a node's roles to others, and no new ones to it", "ftmb drain m1", _drain),
    "undrain": (commands.undrain, "let a drained node have roles again", "ftmb undrain m1", _drain),
    "decide": (commands.decide, "say how a group goes on whose state is lost", "ftmb decide nat last-checkpoint", _decide),
    "heal": (commands.heal, "undo hang, link and host; dead processes start anew, links between switches come up", "ftmb heal m1", _heal),
    "new-function": (commands.new_function, "write a network function that works, its test and a configuration, as a place to begin",
                     "ftmb new-function talkers && pytest test_talkers.py", _new_function),
    "down": (commands.down, "remove everything that up made, also after a crash", "ftmb down", _nothing),
    "demo": (commands.demo, "bring up, run real traffic, kill, measure, bring down", "ftmb demo --kills 3", _demo),
    "chaos": (commands.chaos, "kill real processes at random under traffic, and check the invariants",
              "ftmb chaos --kills 20 --seed 7 --loss 0.01", _chaos),
    "bench": (commands.bench, "measure what protection costs, beside its limits", "ftmb bench --quick --json bench.json", _bench),
    "replay": (commands.replay, "replay what a failover left, offline: does it give the same state, and which step raised",
               "ftmb replay ftmb-nat-2-20260101T120000Z-m2.zip --print --from 0:412", _replay),
    "soak": (commands.soak, "full load, the store stopped in the middle: memory stays bounded, and every packet is accounted for",
             "ftmb soak --minutes 10 --store-stopped 30", _soak),
}
