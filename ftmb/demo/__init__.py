"""The demonstration: real traffic through a protected NAT while its master is killed again and again.

    run          ``ftmb demo``: from up to down
    traffic_set  all traffic of a run: started, confirmed after each kill, ended in order
    programs     one traffic program, and curl, as processes inside hosts
    traffic/     the programs themselves
    gaps         arithmetic on the 1 kHz probe flow: silences, losses, distributions
    report       from what was measured to the verdict, the JSON and the words; the one place of the checks
    timeline     a kill's course as text
    progress     what is said while it runs
"""
