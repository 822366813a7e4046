"""Whether requests are traced. If they are not, nothing of OpenTelemetry's SDK is loaded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

from opentelemetry.trace import Tracer

from mcpserve.errors import ConfigError
from mcpserve.settings import TracingSettings


@asynccontextmanager
async def open_tracer(settings: TracingSettings) -> AsyncIterator[Tracer | None]:
    """Yield what makes spans, or ``None`` if nobody wants any.

    Raises :class:`~mcpserve.errors.ConfigError` if the extra is not installed.
    """
    if not settings.endpoint:
        yield None
        return
    async with telemetry().exporting(settings) as tracer:
        yield tracer


def require(settings: TracingSettings) -> None:
    """Raise :class:`~mcpserve.errors.ConfigError` if tracing is on and cannot be."""
    if settings.endpoint:
        telemetry()


def telemetry() -> ModuleType:
    """Return :mod:`mcpserve.telemetry`, whose imports are an extra."""
    try:
        from mcpserve import telemetry  # noqa: PLC0415 - what is off costs neither time nor memory
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"tracing.endpoint: {error.name} is not here: run pip install 'mcpserve[tracing]'"
        ) from error
    return telemetry
