"""Needs a setting that the operator did not write."""

from pydantic import BaseModel

from mcpserve import hookimpl


class Config(BaseModel, extra="forbid"):
    city: str


@hookimpl
def mcpserve_config():
    return Config
