"""Imports what a command needs, without looking for garbage meanwhile."""

import gc
from importlib import import_module
from types import ModuleType


def load(name: str) -> ModuleType:
    """Import a module. What importing makes stays, so the collector never walks through it."""
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()
