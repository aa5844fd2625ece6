"""The controller: a Ryu app that watches the nodes, steers traffic and leads every failover.

Pure (no sockets, clocks or Ryu; facts and time in, actions out):

    deployment   the deployment file as checked, typed data
    paths        next hops between switches
    steering     who is active and who is fenced -> the OpenFlow entries wanted
    reconcile    wanted against actual entries -> ordered changes of our own only
    switches     one reconciler per switch, and barriers over all of them
    liveness     signs of life -> who is alive, who is dead and why; silence: the data plane as a witness; flapping: deaths in a row
    context      nodes, groups and requests: what the controller knows; underway: what goes on in a group; actions: what it can do
    placement    which node gets a role; arguments: of the requests that give one
    startup      how a group begins; adoption: what a controller finds when it comes
    failover     of a master; fences: of store and loggers in it; loss: state that can't be recovered, and what then
    replacement  of an input logger, output logger or store; spares: who stands by; moves: what an operator plans
    answers      what agents answer and tell, made facts
    controller   events in, actions out; the one door to the files above
    status       what REST tells
    rest         requests of operators -> answers with status codes; refusal: why something is not done

Shells (eventlet or Ryu): server (control channel), events (the log of events and its streams), operations (what
operators ask for, through the app's event loop), openflow (entries <-> messages), switch_link (what goes to one switch),
app (the Ryu app itself), launcher (starts Ryu 4.34 on a current eventlet).
"""
