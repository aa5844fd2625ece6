"""What the controller's core can ask of the shells around it, as data."""

from dataclasses import dataclass
from typing import Optional

from .steering import Steering


@dataclass(frozen=True)
class Request:
    """Send the control message *message* to *node*."""
    node: str
    message: dict


@dataclass(frozen=True)
class Close:
    """Close the control connection of *node*; it may connect again."""
    node: str


@dataclass(frozen=True)
class Steer:
    """Make the switches follow *steering*, then report *token* as done."""
    steering: Steering
    token: int


@dataclass(frozen=True)
class Publish:
    """An event for people: REST and the log. *level* is info, warning or error."""
    level: str
    what: str
    at_ns: int
    group: Optional[str] = None
    node: Optional[str] = None
