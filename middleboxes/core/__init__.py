"""The protocol, without I/O: events and bytes in, frames and messages out; time and entropy are passed in.

    frames        NSH frames between input logger, master and output logger
    aggregates    several frames of one hop in one message (compiled)
    determinants  what repeats an execution: encoding, the log at both ends, the recoverable prefix
    partition     which worker gets a frame
    ipv6          the chain of extension headers of an IPv6 packet
    inputlog      InputLogger: number, timestamp, log, forward
    steps         each packet's path through a master (compiled)
    master        Master: steps, replayed steps, checkpoint cuts
    step          what a step sees as ctx; emitting (compiled): the part that each packet asks for
    ordered       the table that state is kept in: in order, and never growing all at once (compiled)
    columns       keys and values of a checkpoint's record side by side, numbers packed (compiled)
    table         a table becomes columns, and columns are applied to one: what a store folds into (compiled)
    state         declared state that knows its changes (what authors use through middleboxes.sdk; compiled)
    kinds         sets, records, and maps that forget what is not used
    sharing       which worker sees which variables, and the order in which workers have the shared ones
    checkpoint    chunks of a checkpoint, the store's fold
    outputlog     OutputLogger: output commit, duplicates, fencing
    loading       a spare loads checkpoints, in slices
    replaying     repeating logged steps in an order that they depend on
    recovery      Recovery: a spare becomes the master
    feeding       what a logger sends to a hot spare
    following     Follower: a hot spare repeats what the living master does; kept: outputs of these steps, which may have left or not
    messages      the vocabulary of control channel and services
    channel       authenticated messages over a byte stream

The main path of a packet: inputlog.accept -> steps.process -> outputlog.receive; these, frames and determinants are compiled.
The main path of a failover: outputlog.fence -> recovery.step ... -> steps.process.
Imported by middleboxes.sdk, middleboxes.runtime and ryu_app; imports nothing of them.
"""
