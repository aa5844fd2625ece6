"""The processes: sockets, timers and connections around middleboxes.core. One process per host, one thread, and one more for
each worker of a master with several.

    __main__       python -m middleboxes.runtime NODE.json
    node           Node: the data link, the services, which role gets which frame and message
    keeper         a task that holds the node's memory beyond its death, until the failover is over (compiled)
    memory         memory that a node has before it needs it
    awake          processors that stay awake while a node is busy
    agent          the control connection: hello, beats, requests, events
    input_logger   InputLoggerRole     ports -> log -> master
    master         MasterRole          inputs -> middlebox -> outputs; checkpoints to the store
    workers        the threads of a master with several workers
    spare          SpareRole           prefetches checkpoints; recovers and becomes a MasterRole
    following      what makes a spare hot: it repeats what the master does
    followers      the hot spares that follow a logger
    output_logger  OutputLoggerRole    outputs -> ports; acknowledgements
    store          StoreRole           checkpoints
    bundles        what a node does so that failovers leave bundles
    bundler        python -m middleboxes.runtime.bundler: the process beside it that fetches and writes one
    paths          what is done for each batch of frames at a node and at its roles (compiled)
    loop           descriptors, timers, work in slices (compiled)
    link           raw packet sockets
    batches        many frames with one system call (compiled)
    faults         fault switches: a bad network between the roles
    connection     authenticated TCP connections

A frame's way: Link.receive -> paths (Dispatch, then the role's part) -> core -> Link.send. A role that can't go on raises RoleError and friends; the
node tells the controller (event "failed") and gives the role up. Anything unforeseen ends the process: fail-stop, and
the failover does the rest.
"""
