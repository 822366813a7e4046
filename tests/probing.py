"""Checks a plugin in the process of the test, for those that can do it no harm."""

import io
import json
import logging

from mcpserve.checking import probe, rules
from mcpserve.checking.findings import from_json
from mcpserve.checking.listening import Listener


async def probed(name, *, value=None, config=None, call=None, **known):
    """Return what is found in a plugin that can be imported, and all that was reported."""
    report = probe.Report(io.StringIO())
    request = {"name": name, "value": value or name, "config": config or {}, "call": call}
    listener = Listener()
    root = logging.getLogger()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.INFO)
    try:
        await probe.run(request | {"readme": None, "reaches_out": True} | known, report, listener)
    finally:
        root.removeHandler(listener)
        root.setLevel(level)
    told = report.file.getvalue()
    lines = [json.loads(line) for line in told.splitlines()]
    found = [from_json(line["finding"], rules.RULES) for line in lines if "finding" in line]
    return found, told
