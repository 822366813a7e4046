"""Several processes that serve one port, kept going by a small one that serves nothing.

``supervisor``, and what it imports, gets along with the standard library and few files of ours:
it begins without what the server imports, which takes 70 MB. ``member`` is the other side, in each
of the processes.
"""
