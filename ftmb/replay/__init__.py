"""``ftmb replay``: a bundle on the command line.

    run       arguments, one replay after another, exit code
    watch     what is looked at while it runs: steps to print, outputs to keep, where to stop, the debugger
    report    steps, packets and the result in words and as JSON; pure
"""
