"""What `mcpserve plugin check` looks at.

A check is a function in a tuple (``CHECKS`` of :mod:`~mcpserve.checking.package`,
:mod:`~mcpserve.checking.sources`, :mod:`~mcpserve.checking.offers` and
:mod:`~mcpserve.checking.model`) that yields findings of the table in
:mod:`~mcpserve.checking.rules`. The first two read files; the others look at the loaded plugin, in
a process of its own, for which :mod:`~mcpserve.checking.probe` is the programme.
"""
