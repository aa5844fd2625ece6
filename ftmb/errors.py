"""What can go wrong on the user's side of the command line."""


class UsageError(Exception):
    """The command can't be done as asked: arguments, configuration or the machine.

    The text is one clear line (or a few) for the user; the command line prints it and exits with 2.
    """
