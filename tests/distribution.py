"""Which of several processes runs which tests, and in which order: for pytest-xdist."""

NPM = ("tests/blackbox/", "tests/conformance/")
"""The folders whose tests need packages of npm; no two processes should install them."""


def group(nodeid):
    """Return what a test shares its fixtures with: its file, or all that needs npm."""
    return "npm" if nodeid.startswith(NPM) else nodeid.partition("::")[0]


def scheduler(config, log):
    """Return a scheduler that gives a process one group after the other.

    In the order in which they were collected, which ends with short ones: so no process ends long
    after the others.
    """
    # Only those who run several processes have it.
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group(nodeid)

    config.option.loadscopereorder = False
    return ByGroup(config, log)
