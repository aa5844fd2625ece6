"""The Ryu app: connects the pure core to switches, agents and REST. No decisions here.

    FTMB_DEPLOYMENT=deployment.json ryu-manager ryu.app.simple_switch_13 ryu_app.app

The app's event loop calls the core for ticks, operators and switches that come and go, and the green threads that read from agents and
switches call it for messages, without waiting for the loop's turn: a failover would. Nothing from an event to the last of its actions
gives up its turn, so one caller follows the other. What a switch does not take at once goes through a queue and a green thread per
switch: one that does not read holds up nobody else, and loses its connection when the queue is full.
"""

import collections
import contextlib
import json
import os
import socket
import time

from ryu.app import wsgi
from ryu.base import app_manager
from ryu.controller import event, ofp_event
from ryu.controller.handler import CONFIG_DISPATCHER, DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls, set_ev_handler
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3

from . import actions, switches
from .controller import Controller
from .deployment import Place, load, read_key
from .events import EventLog, Stream
from .operations import Operations
from .reconcile import Conflict
from .rest import Rest
from .server import Server
from .status import status, unix_seconds
from .switch_link import QUEUE_MAX, Link
from .xids import QUESTION, Barrier

AUDIT_INTERVAL_S = 10.0
OUTLOOK_INTERVAL_S = 0.1        # after each, what one group's failure would ask for is worked out
BODY_S = 5.0                    # a body that has not come by then is cut off
_WITHDRAWN = 0                  # the token of a withdrawal; the core's begin at 1


class EventCall(event.EventBase):
    """Something that happened outside Ryu: *method* of the app is called with *args* by its event loop."""

    def __init__(self, method, *args):
        super().__init__()
        self.method, self.args = method, args


class FtmbController(app_manager.RyuApp):
    """The fault-tolerance layer as a Ryu app; shares datapaths and REST with any others."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]
    _CONTEXTS = {"wsgi": wsgi.WSGIApplication}
    LOGGER_NAME = "ftmb"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        path = os.environ.get("FTMB_DEPLOYMENT")
        if not path:
            raise RuntimeError("set FTMB_DEPLOYMENT to the path of the deployment file")
        self.deployment = load(path)
        key = read_key(self.deployment.key_file)
        self.core = Controller(self.deployment)
        self.fabric = switches.Switches(self.deployment)
        self._names = {number: name for name, number in self.deployment.switches.items()}
        self._trunks = frozenset(end for link in self.deployment.links for end in link)
        self._seen_live = set()                 # Places: not every switch tells whether a port is live
        self._links = {}
        self._ports = {}                        # datapath id -> {port: up}, as told before the switch is ours
        self._early = {}                        # datapath -> what it told before its turn to become ours
        self._handlers = {
            ofp_event.EventOFPPortStatus: self._port_changed, ofp_event.EventOFPBarrierReply: self._barrier_replied,
            ofp_event.EventOFPFlowStatsReply: self._flows_told, ofp_event.EventOFPGroupDescStatsReply: self._groups_told,
            ofp_event.EventOFPFlowRemoved: self._flow_removed, ofp_event.EventOFPErrorMsg: self._error_told}
        self._todo = collections.deque()
        self._acting = False
        self._log = EventLog()
        self._withdrawn = None                  # once all rules are to be gone: whom to tell when they are
        self._server = Server((self.deployment.control_address, self.deployment.control_port), key,
                              self._on_message, self._on_closed, self.deployment.suspect_after_ms)
        self._operations = Operations(self.core, self._log, self._post, self._act, self._status, self._withdraw)
        kwargs["wsgi"].register(FtmbRest, {"rest": Rest(key, self._operations)})

    def start(self):
        super().start()
        self.threads += [hub.spawn(self._server.serve), hub.spawn(self._every, lambda: self.core.next_tick_ns(time.monotonic_ns()) / 1e9, self._on_tick),
                         hub.spawn(self._every, lambda: AUDIT_INTERVAL_S, self._on_audit),
                         hub.spawn(self._every, lambda: OUTLOOK_INTERVAL_S, self._on_outlook)]
        told = set_ev_handler(list(self._handlers), MAIN_DISPATCHER)(lambda ev: self._told(ev))     # set_ev_cls would have it queued
        for kind in self._handlers:
            app_manager.lookup_service_brick(ofp_event.NAME).register_handler(kind, told)

    # -- what happens

    def _post(self, method, *args):
        self.send_event(self.name, EventCall(method, *args))

    def _every(self, next_s, method):
        while True:
            hub.sleep(next_s())
            self._post(method)

    @set_ev_cls(EventCall)
    def _call(self, ev):
        ev.method(*ev.args)

    def _on_message(self, name, message):
        self._from_agent(lambda: self.core.message(name, message, time.monotonic_ns()))

    def _on_closed(self, name):
        self._from_agent(lambda: self.core.closed(name, time.monotonic_ns()))

    def _from_agent(self, decide):
        with self._contained("an agent"):
            self._act(decide())

    @contextlib.contextmanager
    def _contained(self, who):
        """What Ryu's event loop does with an error of ours: it is told, and costs nobody a connection."""
        try:
            yield
        except Exception:
            self.logger.exception("handling what %s told failed", who)

    def _on_tick(self):
        self._act(self.core.tick(time.monotonic_ns()))

    def _on_audit(self):
        self._command(self.fabric.audit())

    def _on_outlook(self):
        for command in self.fabric.foresee(*self.core.outlook()):
            for change in command.changes if isinstance(command, switches.Send) else ():
                self._links[command.switch].codec.encoded(change)

    # -- what the core decides

    def _act(self, decided):
        """Carry out actions in the order of their decision, also when one of them leads to more."""
        self._todo.extend(decided)
        if self._acting:
            return
        self._acting = True
        try:
            while self._todo:
                self._act_one(self._todo.popleft())
        finally:
            self._acting = False
        self._operations.settled()

    def _act_one(self, action):
        if isinstance(action, actions.Request):
            self._server.send(action.node, action.message)
        elif isinstance(action, actions.Close):
            self._server.close(action.node)
        elif isinstance(action, actions.Publish):
            self._publish(action)
        elif self._withdrawn is None:
            self._command(self.fabric.steer(action.steering, action.token))
        else:
            self._done(action.token)

    def _publish(self, action):
        offset_ns = time.time_ns() - time.monotonic_ns()
        self._log.add({
            "at": unix_seconds(action.at_ns, offset_ns), "at_ns": action.at_ns, "level": action.level,
            "what": action.what, "group": action.group, "node": action.node})
        log = {"info": self.logger.info, "warning": self.logger.warning, "error": self.logger.error}[action.level]
        log("%s%s", f"[{action.group}] " if action.group else "", action.what)

    def _command(self, commands):
        """Carry out commands of the switches' reconcilers; those for one switch go out as one batch."""
        batches, done = {}, []
        for command in commands:
            if isinstance(command, Conflict):
                self._tell("error", f"switch {command.switch}: {command.text}")
            elif isinstance(command, switches.Done):
                done.append(command.token)
            else:
                link = self._links[command.switch]
                batches.setdefault(command.switch, []).extend(self._messages(link, command))
        for name, messages in batches.items():
            link = self._links[name]
            xids = link.send(messages)
            asked = {xid for xid, (_, purpose) in zip(xids, messages) if purpose is QUESTION}
            link.asked = asked or link.asked
        for token in done:                      # last: it may lead to more, which goes after these
            self._done(token)

    def _messages(self, link, command):
        if isinstance(command, switches.Send):
            return [(link.codec.encoded(change), change) for change in command.changes]
        if isinstance(command, switches.Barrier):
            return [(link.codec.barrier(), Barrier(command.number))]
        return [(link.codec.ask_groups(), QUESTION),
                (link.codec.ask_flows(self.deployment.table, command.all_flows), QUESTION)]

    def _done(self, token):
        if token == _WITHDRAWN:
            self._withdrawn()
        else:
            self._act(self.core.steered(token, time.monotonic_ns()))

    def _tell(self, level, what):
        self._publish(actions.Publish(level, what, time.monotonic_ns()))

    # -- switches

    def _link_of(self, datapath):
        """The Link of *datapath*, None if it is not (or no more) one of ours."""
        link = self._links.get(self._names.get(datapath.id))
        return link if link is not None and link.datapath is datapath else None

    @set_ev_cls(ofp_event.EventOFPPortDescStatsReply, CONFIG_DISPATCHER)
    def _ports_told(self, ev):
        if ev.msg.datapath.id in self._names:
            ports = self._ports.setdefault(ev.msg.datapath.id, {})
            ports.update((port.port_no, self._is_up(ev.msg.datapath, port)) for port in ev.msg.body)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def _state_changed(self, ev):
        datapath = ev.datapath
        name = self._names.get(datapath.id)
        if name is None:
            return
        if ev.state == DEAD_DISPATCHER:
            self._early.pop(datapath, None)
            # of a connection that was replaced already, the end says nothing
            if self._link_of(datapath) is not None:
                self._switch_lost(name)
            return
        if name in self._links:
            self._switch_lost(name)
        link = self._links[name] = Link(name, datapath, self.deployment.cookie)
        self._command(self.fabric.switch_connected(name))
        self._act(self.core.switch_connected(name, self._ports.pop(datapath.id, {}), time.monotonic_ns()))
        for early in self._early.pop(datapath, ()):
            self._handlers[type(early)](link, early.msg)

    def _switch_lost(self, name):
        self._links.pop(name).stop()
        self._command(self.fabric.switch_lost(name))
        self._act(self.core.switch_lost(name, time.monotonic_ns()))

    def _told(self, ev):
        """A switch told something: called where Ryu reads it."""
        link = self._link_of(ev.msg.datapath)
        with self._contained("a switch"):
            if link is not None:
                self._handlers[type(ev)](link, ev.msg)
            elif ev.msg.datapath.id in self._names:
                self._told_early(ev)

    def _told_early(self, ev):
        """It is ours when its turn comes: what it tells until then is kept, and too much of it ends the connection."""
        datapath = ev.msg.datapath
        early = self._early.setdefault(datapath, [])
        if len(early) < QUEUE_MAX:
            early.append(ev)
        elif datapath.state != DEAD_DISPATCHER:
            self._tell("error", f"switch {self._names[datapath.id]} told more than {QUEUE_MAX} things before its turn: connection closed")
            datapath.close()

    def _port_changed(self, link, msg):
        up = msg.reason != msg.datapath.ofproto.OFPPR_DELETE and self._is_up(msg.datapath, msg.desc)
        self._act(self.core.port(Place(link.codec.name, msg.desc.port_no), up, time.monotonic_ns()))

    def _is_up(self, datapath, port):
        ofproto, closed = datapath.ofproto, datapath.ofproto.OFPPC_PORT_DOWN
        place = Place(self._names[datapath.id], port.port_no)
        if place in self._trunks:
            # a spanning tree app blocks links so: no frame of ours gets through either
            closed |= ofproto.OFPPC_NO_RECV | ofproto.OFPPC_NO_FWD
        if port.state & ofproto.OFPPS_LIVE:
            self._seen_live.add(place)
        elif place in self._seen_live:
            return False                # Open vSwitch tells so first, and that the link is down in a message of its own after it
        return not (port.state & ofproto.OFPPS_LINK_DOWN or port.config & closed)

    def _barrier_replied(self, link, msg):
        number = link.xids.confirmed(msg.xid)
        if number is not None:
            self._command(self.fabric.barrier_reply(link.codec.name, number))

    def _flows_told(self, link, msg):
        if msg.xid in link.asked:
            self._entries(link, msg, "flows", link.codec.flows(msg.body))

    def _groups_told(self, link, msg):
        if msg.xid in link.asked:
            self._entries(link, msg, "groups", link.codec.groups(msg.body))

    def _entries(self, link, msg, kind, entries):
        more = bool(msg.flags & msg.datapath.ofproto.OFPMPF_REPLY_MORE)
        self._command(self.fabric.entries(link.codec.name, kind, entries, more))

    def _flow_removed(self, link, msg):
        if msg.cookie >> 32 == self.deployment.cookie:
            self._command(self.fabric.removed(link.codec.name, link.codec.removed(msg)))

    def _error_told(self, link, msg):
        refused = link.xids.refused(msg.xid)
        if refused is not None:
            what = refused if refused is QUESTION else f"{refused.what} {refused.entry}"
            self._tell("error", f"switch {link.codec.name} refused (type {msg.type}, code {msg.code}): {what}")
            self._command(self.fabric.refused(link.codec.name, refused is QUESTION))

    # -- REST; status is called by the web server's green threads, which only read

    def _status(self, counters):
        loaded = [name for name in app_manager.AppManager.get_instance().applications_cls
                  if name != "ryu.controller.ofp_handler"]
        value = status(self.core.context, time.time_ns() - time.monotonic_ns(), sorted(loaded), self._log.count)
        value["controller"]["counters"] = {**self._server.counters, **counters}
        return value

    def _withdraw(self, done):
        self._withdrawn = done
        self._tell("warning", "all rules are being removed")
        self._command(self.fabric.want(frozenset(), frozenset(), _WITHDRAWN))


class FtmbRest(wsgi.ControllerBase):
    """Hands web requests to Rest."""

    @wsgi.route("ftmb", "/ftmb/{rest:.*}")
    def handle(self, req, **_):
        try:
            path, query = req.path_info, dict(req.GET)
        except UnicodeDecodeError:
            return self._response(req, 400, {"error": "path and query must be UTF-8"}, {})
        answer = self.data["rest"].handle(req.method, path, query, req.headers, lambda count: _body(req, count))
        return self._response(req, *answer)

    @staticmethod
    def _response(req, code, value, headers):
        if isinstance(value, Stream):
            # each event goes out by itself, and who does not take them loses the connection
            req.environ["eventlet.minimum_write_chunk_size"] = 1
            value.on_drop = lambda: _hang_up(req.environ["eventlet.input"].get_socket())
            response = wsgi.Response(status=code, content_type="text/event-stream", charset="utf-8", app_iter=value)
        else:
            response = wsgi.Response(status=code, content_type="application/json", charset="utf-8",
                                     body=json.dumps(value).encode() + b"\n")
        # not given to the constructor: there they would take the place of the type
        response.headers.update({"Cache-Control": "no-store", **headers})
        return response


def _body(req, count):
    """*count* bytes of the request's body, or none if they do not come in time."""
    with hub.Timeout(BODY_S, False):
        return req.environ["wsgi.input"].read(count)
    return b""


def _hang_up(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        sock.close()            # the client was first
