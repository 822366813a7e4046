"""Where a supervisor begins: a program of its own, run by its path."""

import signal
import sys
import types
from pathlib import Path

if __name__ == "__main__":
    # Until the supervisor listens for it there is nothing to end but this.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # In place of the package itself, which may be in a place that Python does not look at.
    package = types.ModuleType("mcpserve")
    package.__path__ = [str(Path(__file__).parent.parent)]
    sys.modules["mcpserve"] = package

    from mcpserve.processes.plan import Plan
    from mcpserve.processes.supervisor import main

    sys.exit(main(Plan.loads(sys.argv[1])))
