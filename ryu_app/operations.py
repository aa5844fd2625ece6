"""What an operator can ask of the controller. Called by the web server's green threads, which only read, or have the app's
event loop do it and wait.

At most WAITING_MAX requests wait; more are refused (``operations_refused``). One whose turn does not come within ANSWER_S
is given up, and then not begun. A move is waited for MOVE_S long.
"""

import time

import eventlet
import eventlet.event

from .refusal import Late, Refused, Unavailable

WAITING_MAX = 16
ANSWER_S = 5.0
MOVE_S = 30.0
WITHDRAW_S = 5.0


class _Call:
    """A request on its way through the app's event loop."""

    def __init__(self, function):
        self.function, self.answer, self.given_up = function, eventlet.event.Event(), False


class Operations:
    """*core*: the Controller; *log*: the EventLog. *post(method, *args)* has the app's event loop call *method*, *act(actions)*
    carries out what the core decides, *status(counters)* gives the status with these counters, *withdraw(done)*, called by
    the event loop, removes all rules and calls *done* once.
    """

    def __init__(self, core, log, post, act, status, withdraw):
        self._core, self._log, self._post, self._act = core, log, post, act
        self._tell_status, self._begin_withdrawal = status, withdraw
        self._waiting = 0
        self._moves = {}                        # group -> (event of its end, epoch and number of the last event before)
        self._withdrawn = None                  # event, once all rules are to be gone
        self.counters = {"operations_refused": 0}

    # -- what is

    def status(self):
        """The value of ``GET /ftmb/status``."""
        return self._tell_status({**self.counters, **self._log.counters})

    def events(self, since):
        """The events after number *since*."""
        return self._log.since(since)

    def stream(self, since):
        """A Stream of the events after number *since*. Raises Unavailable."""
        return self._log.follow(since)

    # -- what changes something

    def drain(self, node):
        """Raises Refused, Unavailable."""
        self._ask(lambda now_ns: self._core.drain(node, now_ns))
        return {"node": node, "draining": True}

    def undrain(self, node):
        """Raises Refused, Unavailable."""
        self._ask(lambda now_ns: self._core.undrain(node, now_ns))
        return {"node": node, "draining": False}

    def move(self, group, to, reload):
        """Move the master of *group* to node *to* (None: whichever is best) and tell the record of it.

        Raises Refused, Unavailable (it failed), Late.
        """
        end = eventlet.event.Event()

        def begin(now_ns):
            epoch = self._core.context.groups[group].epoch
            decided = self._core.move(group, to, reload, now_ns)
            self._moves[group] = (end, epoch, self._log.count)
            return decided

        self._ask(begin)
        try:
            record = _wait(end, MOVE_S, Late(f"the move of {group} is under way and not done after {MOVE_S:.0f} s"))
        finally:
            if self._moves.get(group, (None,))[0] is end:
                del self._moves[group]
        if record["cause"] != "moved":
            raise Unavailable(f"the master of {group} failed while it was moved: {record['cause']}; "
                              f"{record['to']} has taken over")
        return {"group": group, "master": record["to"], "failover": record}

    def decide(self, group, policy):
        """What to do with a group whose state is lost: "last-checkpoint" or "empty". Raises Refused, Unavailable."""
        self._ask(lambda now_ns: self._core.decide(group, policy, now_ns))
        return {"group": group, "policy": policy}

    def withdraw(self):
        """Remove all rules of ours. Raises Unavailable as long as some switch has not confirmed."""
        if self._withdrawn is None:
            self._withdrawn = eventlet.event.Event()
            self._post(self._begin_withdrawal, self._withdrawn.send)
        _wait(self._withdrawn, WITHDRAW_S, Unavailable("not every switch has confirmed"))
        return {"removed": True}

    def settled(self):
        """To be called after each thing that happened: ends moves that are over."""
        for name, (end, epoch, number) in list(self._moves.items()):
            group = self._core.context.groups[name]
            if group.phase != "running" or group.move is not None:
                continue
            del self._moves[name]
            records = [record for record in group.failovers if record["role"] == "master" and record["epoch"] > epoch]
            if records:
                end.send(records[0])
            else:
                end.send_exception(Unavailable(self._called_off(name, number)))

    def _called_off(self, name, number):
        """The last error of group *name* after event *number*: why its move ended without one."""
        errors = [event["what"] for event in self._log.since(number) if event["group"] == name and event["level"] == "error"]
        return errors[-1] if errors else f"the move of {name} was called off"

    def _ask(self, function):
        """Have the event loop carry out what *function(now_ns)* decides. Raises Refused, Unavailable."""
        if self._waiting >= WAITING_MAX:
            self.counters["operations_refused"] += 1
            raise Unavailable(f"{WAITING_MAX} requests are waiting, which is the most there may be")
        call = _Call(function)
        self._waiting += 1
        try:
            with eventlet.Timeout(ANSWER_S, Unavailable(f"the controller had no time for it within {ANSWER_S:.0f} s")):
                self._post(self._carry_out, call)
                call.answer.wait()
        finally:
            call.given_up = True
            self._waiting -= 1

    def _carry_out(self, call):
        if call.given_up:
            return
        try:
            decided = call.function(time.monotonic_ns())
        except Refused as refusal:
            call.answer.send_exception(refusal)
            return
        call.answer.send()
        self._act(decided)


def _wait(event, timeout_s, error):
    with eventlet.Timeout(timeout_s, error):
        return event.wait()
