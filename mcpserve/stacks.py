"""Where code is at this moment, for whoever waits for it: lines of files, the innermost first."""

import asyncio
import sys
import traceback
from traceback import FrameSummary

INNER = (
    "/asyncio/",
    "/concurrent/",
    "/importlib/",
    "/mcpserve/discovery.py",
    "/mcpserve/hooks.py",
    "/mcpserve/lives.py",
    "/mcpserve/loading.py",
    "/mcpserve/loop.py",
    "/mcpserve/threads.py",
    "/pluggy/",
    "<frozen importlib",
    "/contextlib.py",
    "/threading.py",
)
"""Where code that runs other code lies; what it calls comes after it in a stack."""


def of_thread(thread: int) -> str:
    """Return the line that runs in this thread, and the one that led to it if it is another."""
    frame = sys._current_frames().get(thread)
    return told(traceback.extract_stack(frame) if frame else [])


def of_task(task: "asyncio.Task[object]") -> str:
    """Return the line at which a task waits, and the one that led to it if it is another."""
    stack: list[FrameSummary] = []
    waiting: object = task.get_coro()
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        stack += traceback.extract_stack(frame, limit=1)
        waiting = waiting.cr_await  # type: ignore[attr-defined]
    return told(stack)


def told(stack: list[FrameSummary]) -> str:
    """Return what there is to say of a stack, outermost first: nothing of who runs tasks."""
    inner = [any(part in line.filename for part in INNER) for line in stack]
    end = max((n + 1 for n, is_inner in enumerate(inner) if not is_inner), default=len(stack))
    begin = max((n + 1 for n, is_inner in enumerate(inner[:end]) if is_inner), default=0)
    # Runners alone: what they run is a function of C, which has no line.
    after = stack[begin:end] if begin or end == len(stack) else stack[-1:]
    shown = [after[0], after[-1]] if len(after) > 1 else after[:1]
    return " in ".join(f"{line.filename}:{line.lineno} ({line.name})" for line in shown[::-1])
