"""Soak: full load for minutes, the store stopped in the middle; memory stays bounded and every packet is accounted for.

    run            ``ftmb soak``: arguments, words, exit code
    soak           one run, from up to down
    configuration  the network that it runs on
    load           UDP as fast as the three hops take it, as programs inside hosts
    traffic_set    all traffic of a run
    network        what interfaces and queues of the emulated network count
    accounts       counters of each hop against those of the next; pure
    bounds         the stated bounds, and what was seen against them; pure
    report         from what was found to the JSON and the words; pure
"""
