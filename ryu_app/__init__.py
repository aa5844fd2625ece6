"""The controller: a Ryu app that watches the nodes, steers traffic and leads every failover.

Pure (no sockets, clocks or Ryu; facts and time in, actions out):

    deployment   the deployment file as checked, typed data
    paths        next hops between switches
    steering     who is active and who is fenced -> the OpenFlow entries wanted
    reconcile    wanted against actual entries -> ordered changes of our own only
    switches     one reconciler per switch, and barriers over all of them
    liveness     signs of life -> who is alive, who is dead and why
    context      nodes, groups and requests: what the controller knows; actions: what it can do
    startup, failover, spares    the steps a group takes, each a function of the context
    controller   events in, actions out; the one door to the files above
    status       what REST tells
    rest         requests of operators -> answers with status codes; refusal: why something is not done

Shells (eventlet or Ryu): server (control channel), events (the log of events and its streams), operations (what
operators ask for, through the app's event loop), openflow (entries <-> messages), app (the Ryu app itself),
launcher (starts Ryu 4.34 on a current eventlet).
"""
