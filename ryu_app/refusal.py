"""Why what an operator asked for is not done; REST makes a status code of each kind."""


class Refused(ValueError):
    """It can't be done as things are; the text says why. Nothing has changed. (409)"""


class Unavailable(Exception):
    """The controller can't take it now, or what was begun has failed; the text says which. (503)"""


class Late(Exception):
    """It was begun and is not done in time; it goes on. (504)"""
