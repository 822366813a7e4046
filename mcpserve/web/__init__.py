"""The HTTP edge: the table of URLs and what every handler is given.

Handlers parse, authenticate, call and write; they decide nothing.
"""

from mcpserve.web.routes import application
from mcpserve.web.services import Services

__all__ = ["Services", "application"]
