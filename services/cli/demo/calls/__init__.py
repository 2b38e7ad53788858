"""Requests and responses of single AWS APIs, in the lower-camel shape that CloudTrail writes.

Each function writes one record at the trail's clock and returns what a story needs next.
"""

from calls.compute import *  # noqa: F401,F403
from calls.identity import *  # noqa: F401,F403
from calls.services import *  # noqa: F401,F403
