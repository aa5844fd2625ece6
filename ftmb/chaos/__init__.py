"""Chaos: a seeded campaign of kills on real processes under traffic, with the invariants checked.

    run            ``ftmb chaos``: arguments, words, exit code
    campaign       one campaign, from up to down
    kills          the kinds of kills, drawn from the seed
    configuration  the network that it runs on
    traffic_set    all traffic of a campaign
    flows          numbered UDP flows, as programs inside hosts
    payload        their datagrams, and the record of arrivals
    checkers       the invariants on what arrived; pure
    accounts       the roles' counters against each other; pure
    queues         what the emulated switches lose when their queues overrun
    report         from what was found to the JSON and the words; pure
"""
