"""Strict reading of JSON values: each knows the file and the path of keys that lead to it, and says so."""

import json
import re

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_VIRTUAL_MAC = re.compile(r"02:46:54:0[1-3]:")         # middleboxes.core.frames.virtual_mac
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class DeploymentError(ValueError):
    """The deployment or its key file can't be used; the text names the file and the key path."""


class Value:
    """A JSON value with the path that leads to it, so that every complaint can name it."""

    def __init__(self, file, path, value):
        self.file, self.path, self.value = file, path, value

    def fail(self, text):
        raise DeploymentError(f"{self.file}: {self.path or 'the top level'}: {text}")

    def _expect(self, kind, name):
        # bool is an int in Python, not in JSON
        if not isinstance(self.value, kind) or (kind is int and isinstance(self.value, bool)):
            self.fail(f"must be {name}, is {json.dumps(self.value)[:60]}")
        return self.value

    def _child(self, key):
        path = f"{self.path}[{key}]" if isinstance(key, int) else f"{self.path}.{key}".lstrip(".")
        return Value(self.file, path, self.value[key])

    def keys(self, *required, optional=()):
        """The values under exactly these keys, as a dict."""
        self._expect(dict, "a map")
        allowed = (*required, *optional)
        for key in self.value:
            if key not in allowed:
                self.fail(f"unknown key {key!r}; allowed: {', '.join(allowed)}")
        for key in required:
            if key not in self.value:
                self.fail(f"key {key!r} is missing")
        return {key: self._child(key) for key in allowed if key in self.value}

    def named(self):
        """A map of free names to values."""
        self._expect(dict, "a map")
        for key in self.value:
            if not _NAME.fullmatch(key):
                self.fail(f"{key!r} is not a name (letters, digits, '_.-'; at most 64)")
        return {key: self._child(key) for key in self.value}

    def items(self, count_min=0):
        self._expect(list, "a list")
        if len(self.value) < count_min:
            self.fail(f"needs at least {count_min} entries")
        return [self._child(position) for position in range(len(self.value))]

    def integer(self, low, high):
        value = self._expect(int, "an integer")
        if not low <= value <= high:
            self.fail(f"must be {low} .. {high}, is {value}")
        return value

    def text(self):
        value = self._expect(str, "a text")
        if not value:
            self.fail("must not be empty")
        return value

    def mapping(self):
        return self._expect(dict, "a map")

    def boolean(self):
        return self._expect(bool, "true or false")

    def mac(self):
        value = self.text().lower()
        if not _MAC.fullmatch(value) or int(value[:2], 16) & 1:
            self.fail(f"{value!r} is not a unicast MAC address")
        if _VIRTUAL_MAC.match(value):
            self.fail(f"{value!r} is in the range of virtual MAC addresses (02:46:54:01 to 03)")
        return value

    def address(self, parse, what):
        value = self.text()
        try:
            parse(value)
        except ValueError:
            self.fail(f"{value!r} is not {what}")
        return value

    def one_of(self, names, what):
        value = self.text()
        if value not in names:
            self.fail(f"there is no {what} {value!r}")
        return value

    def choice(self, *allowed):
        """One of these words."""
        value = self.text()
        if value not in allowed:
            self.fail(f"must be one of {', '.join(allowed)}, is {value!r}")
        return value

    def distinct(self, pairs, what):
        """Complain if a value comes twice in *pairs* (where it stands, the value)."""
        seen = {}
        for key, value in pairs:
            if value in seen:
                self.fail(f"{what} {value!r} is used twice ({seen[value]} and {key})")
            seen[value] = key
