"""Starts the real `hanok` binary for a test and talks to it without hiding anything.

No product code is imported and nothing is mocked. The invariant: a server that a test started is gone when the test is.
"""

from .http import Reply, request
from .metrics import Metrics
from .repository import ModelRepository
from .server import HanokServer, binary

__all__ = ["HanokServer", "Metrics", "ModelRepository", "Reply", "binary", "request"]
