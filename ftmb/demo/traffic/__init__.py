"""Traffic programs of the demo; each runs as a process of its own inside one host.

    server    inside the server: echoes TCP and UDP, watches which source each UDP flow has
    client    inside the client: established TCP connections, UDP flows, a stream of new connections
    probe     either side: the 1 kHz flow whose silences are the client's gap
    files     inside the server: an endless HTTP download for curl, until it is told to end
    loop      what they share: one epoll loop, fixed ticks, commands and JSON lines
    payload   deterministic contents, so that any byte can be checked
    counters  the kernel's own count of TCP resets

A program reads commands from stdin, one a line, and answers with one JSON line each on stdout, with the key
``event``: ``ready`` (by itself), ``report``, ``confirmed``, ``result`` (the last one). SIGTERM asks for the
result too. The end of stdin means that whoever started it is gone: it ends at once.
"""
