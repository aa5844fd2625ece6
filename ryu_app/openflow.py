"""Our entries as OpenFlow 1.3 messages and back; needs a datapath's parser, but not Ryu itself."""

from .reconcile import ADD, DELETE, MODIFY
from .steering import FORGET_IN_PORT, Flow, Group

_COOKIE_MASK = 0xffffffff00000000
_ENCODED_MAX = 4096             # changes of which the bytes are kept; then all of them are forgotten
# Open vSwitch's name: OpenFlow 1.3 can't set its own field for the port. Nicira's action that loads it would do as well,
# but Ryu can't put that one into words: no app could list entries with it.
_IN_PORT = "in_port_nxm"


def serialized(message):
    """The bytes of Ryu's *message*, with the transaction id 0 if it has none."""
    message.serialize()
    return bytes(message.buf)


def numbered(data, xid):
    """The message in *data* with the transaction id *xid*."""
    return data[:4] + xid.to_bytes(4, "big") + data[8:]


class Codec:
    """Translates for one *datapath* of the switch called *name*."""

    def __init__(self, name, datapath, cookie):
        self.name = name
        self._datapath, self._cookie = datapath, cookie
        self._ofproto, self._parser = datapath.ofproto, datapath.ofproto_parser
        self._encoded = {}              # change -> its bytes

    # -- to the switch

    def encoded(self, change):
        """The bytes of the message that makes *change*, without a transaction id; kept, for what was foreseen has to go out at once."""
        data = self._encoded.get(change)
        if data is None:
            if len(self._encoded) >= _ENCODED_MAX:
                self._encoded.clear()
            data = self._encoded[change] = serialized(self.change(change))
        return data

    def change(self, change):
        """Ryu's message that makes *change*."""
        return self._group(change) if isinstance(change.entry, Group) else self._flow(change)

    def barrier(self):
        return serialized(self._parser.OFPBarrierRequest(self._datapath))

    def ask_flows(self, table, all_flows):
        """Ask for the flows of *table*: ours, or everybody's."""
        cookie, mask = (0, 0) if all_flows else (self._cookie << 32, _COOKIE_MASK)
        return serialized(self._parser.OFPFlowStatsRequest(
            self._datapath, 0, table, self._ofproto.OFPP_ANY, self._ofproto.OFPG_ANY, cookie, mask,
            self._parser.OFPMatch()))

    def ask_groups(self):
        return serialized(self._parser.OFPGroupDescStatsRequest(self._datapath, 0))

    def _flow(self, change):
        flow, ofproto, parser = change.entry, self._ofproto, self._parser
        deleting = change.what == DELETE
        instructions = []
        if flow.actions and not deleting:
            instructions = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS,
                                                         [self._to_switch(*action) for action in flow.actions])]
        return parser.OFPFlowMod(
            self._datapath, cookie=flow.cookie,
            # a deletion names the cookie too: it can't hit what is not ours
            cookie_mask=0xffffffffffffffff if deleting else 0, table_id=flow.table, priority=flow.priority,
            command=ofproto.OFPFC_DELETE_STRICT if deleting else ofproto.OFPFC_ADD,
            out_port=ofproto.OFPP_ANY, out_group=ofproto.OFPG_ANY,
            flags=0 if deleting else ofproto.OFPFF_SEND_FLOW_REM,       # whoever deletes it, we hear of it
            match=parser.OFPMatch(**dict(flow.match)), instructions=instructions)

    def _to_switch(self, name, value):
        if name == "output":
            return self._parser.OFPActionOutput(value)
        if name == "group":
            return self._parser.OFPActionGroup(value)
        return self._parser.OFPActionSetField(**{_IN_PORT: value})

    def _group(self, change):
        group, ofproto, parser = change.entry, self._ofproto, self._parser
        command = {ADD: ofproto.OFPGC_ADD, MODIFY: ofproto.OFPGC_MODIFY, DELETE: ofproto.OFPGC_DELETE}[change.what]
        buckets = []
        if change.what != DELETE:
            actions = [parser.OFPActionSetField(eth_dst=value) if name == "eth_dst" else parser.OFPActionOutput(value)
                       for name, value in group.bucket]
            buckets = [parser.OFPBucket(actions=actions)]
        return parser.OFPGroupMod(self._datapath, command, ofproto.OFPGT_INDIRECT, group.group_id, buckets)

    # -- from the switch

    def flows(self, body):
        """The Flows of a flow stats reply's *body*."""
        return [Flow(self.name, stat.table_id, stat.priority, tuple(sorted(stat.match.items())), stat.cookie,
                     self._flow_actions(stat.instructions)) for stat in body]

    def removed(self, message):
        """The Flow, without its actions, that a flow removed *message* tells of."""
        return Flow(self.name, message.table_id, message.priority, tuple(sorted(message.match.items())), message.cookie, ())

    def groups(self, body):
        """The Groups of a group description reply's *body*; a foreign one may have other names in its bucket."""
        return [Group(self.name, desc.group_id, "indirect" if desc.type == self._ofproto.OFPGT_INDIRECT else "other",
                      tuple(self._action(action) for bucket in desc.buckets for action in bucket.actions))
                for desc in body]

    def _flow_actions(self, instructions):
        actions = []
        for instruction in instructions:
            if instruction.type == self._ofproto.OFPIT_APPLY_ACTIONS:
                actions += [self._action(action) for action in instruction.actions]
            else:
                actions.append(("instruction", instruction.type))
        return tuple(actions)

    def _action(self, action):
        if action.type == self._ofproto.OFPAT_OUTPUT:
            return ("output", action.port)
        if action.type == self._ofproto.OFPAT_GROUP:
            return ("group", action.group_id)
        if action.type == self._ofproto.OFPAT_SET_FIELD and action.key == "eth_dst":
            return ("eth_dst", action.value)
        if action.type == self._ofproto.OFPAT_SET_FIELD and (action.key, action.value) == (_IN_PORT, 0):
            return FORGET_IN_PORT
        return ("action", action.type)
