"""``isolation: process``: a plugin whose functions run in a worker process of its own.

``wire`` is what both sides say, ``host`` the side of the server; the other one is
:mod:`mcpserve.worker`. Nothing that
comes from a worker is trusted more than what comes from a client: it is JSON, and it is checked.
"""
