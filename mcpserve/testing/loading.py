"""Use a plugin without installation, server, database or token.

Works through the same code as the server: the same validation, timeouts and error mapping.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from mcp_types import (
    CallToolResult,
    ClientCapabilities,
    ElicitResult,
    GetPromptResult,
    InputRequest,
    InputResponse,
    LoggingLevel,
    ReadResourceResult,
)
from pydantic import ValidationError

from mcpserve import language_tags, plugins
from mcpserve.errors import PluginError
from mcpserve.oauth.userinfo import known_by
from mcpserve.principal import Principal, User
from mcpserve.questions import InputRequired, Interview
from mcpserve.registry import Registry, ToolCall
from mcpserve.settings import PluginSettings, explain
from mcpserve.tools import CALL_SCOPE, ToolContext

EVERYTHING = ClientCapabilities.model_validate(
    {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}}, "roots": {}}
)

Result = TypeVar("Result")


class LoadedPlugin:
    """A plugin that is ready to be used, by somebody with all scopes that it needs."""

    def __init__(self, registry: Registry) -> None:
        self.calls: list[ToolCall] = []
        """What the hook ``mcpserve_tool_called`` would have seen, oldest first."""
        self.progress: list[tuple[float, float | None, str | None]] = []
        """Every progress report, oldest first."""
        self.logs: list[tuple[LoggingLevel, Any]] = []
        """Every log message, oldest first."""
        self.answers: dict[str, Mapping[str, Any] | InputResponse | None] = {}
        """How questions are answered, by their keys: with what a person fills into the form,
        ``None`` if the person declines, or an answer of the protocol."""
        self.asked: list[tuple[str, InputRequest]] = []
        """Every question and its key, oldest first."""
        self.user: User | None = User("test-user", "test", "test@example.org", email_verified=True)
        """The person; ``None``: nobody is logged in."""
        self.locale: str | None = None
        """The language tag that the client tells; what is none does not reach the tool."""
        self.tools = registry.tools.observed_by(self.calls.append)
        """The plugin's tools, as the server would hold them."""
        self.resources = registry.resources
        """Its resources."""
        self.prompts = registry.prompts
        """Its prompts."""
        self.scopes = set(registry.scopes | {CALL_SCOPE})
        """What the token allows, all that the plugin needs; to be added to. As in the server,
        tools learn a person's name only with ``profile``, and the address with ``email``."""

    async def call(self, name: str, /, **arguments: Any) -> CallToolResult:
        """Call a tool as a client would, again and again until every question is answered.

        A failure inside the tool is a result with ``is_error``. Raises
        :class:`~mcpserve.registry.UnknownTool` for a name that the plugin does not have, and
        :class:`LookupError` for a question to which :attr:`answers` has no answer that fits.
        """
        return await self._run(lambda context: self.tools.call(name, arguments, context))

    async def read(self, uri: str) -> ReadResourceResult:
        """Read a resource as a client would.

        Raises :class:`~mcpserve.registry.UnknownResource` for a URI under which there is nothing,
        :class:`~mcpserve.ToolError` as the function does, and
        :class:`~mcpserve.bound.CallFailed` for a crash or a timeout.
        """
        return await self._run(lambda context: self.resources.read(uri, context))

    async def get_prompt(self, name: str, /, **arguments: str) -> GetPromptResult:
        """Get a prompt as a client would.

        Raises :class:`~mcpserve.registry.UnknownPrompt` for a name that the plugin does not have,
        and else as :meth:`read`; wrong arguments are a :class:`~mcpserve.ToolError`.
        """
        return await self._run(lambda context: self.prompts.render(name, arguments, context))

    async def complete(self, key: str, argument: str, value: str, /, **others: str) -> list[str]:
        """Return how an argument may go on, of a prompt by name or of a resource by URI template.

        ``others`` are the other arguments. Raises as :meth:`get_prompt`.
        """
        offers = self.resources if ":" in key else self.prompts
        return await offers.get(key).complete(argument, value, others)

    async def _run(self, run: Callable[[ToolContext], Awaitable[Result]]) -> Result:
        """Run as often as it asks something."""
        interview = Interview(EVERYTHING)
        subject = self.user.id if self.user else ""
        principal = Principal("test-client", subject, frozenset(self.scopes))
        while True:
            context = ToolContext(
                principal,
                self._record,
                self._record_log,
                interview,
                find_user=self._find_user,
                locale=language_tags.normal(self.locale or ""),
            )
            try:
                return await run(context)
            except InputRequired:
                asked = interview.transcript
                answers = {key: self._answer(key, interview) for key in interview.open}
                interview = Interview(EVERYTHING, earlier=asked, responses=answers)

    def _answer(self, key: str, interview: Interview) -> InputResponse:
        request = interview.open[key]
        if key not in self.answers or interview.is_repeated(key):
            raise LookupError(f"answers[{key!r}] is no answer to {request!r}")
        self.asked.append((key, request))
        match self.answers[key]:
            case None:
                return ElicitResult(action="decline")
            case Mapping() as content:
                return ElicitResult(action="accept", content=dict(content))
            case answer:
                return answer

    async def _find_user(self, principal: Principal) -> User | None:
        return known_by(self.user, principal.scopes) if self.user else None

    async def _record(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        self.progress.append((progress, total, message))

    async def _record_log(self, level: LoggingLevel, data: Any) -> None:
        self.logs.append((level, data))


@asynccontextmanager
async def load_plugin(
    plugin: object, config: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[LoadedPlugin]:
    """Load a plugin (a module or any object with hooks) with this ``config:``.

    ``settings`` are the host's keys beside ``config:``, such as ``timeout`` or ``tools``.
    Raises :class:`~mcpserve.errors.PluginError` where the server would refuse to start.
    """
    name = plugin_name(plugin)
    try:
        chosen = {name: PluginSettings(config=dict(config or {}), **settings)}
    except ValidationError as error:
        raise PluginError(name, "; ".join(explain(error))) from None
    async with AsyncExitStack() as exit_stack:
        loaded = await plugins.load(chosen, exit_stack, lambda _: plugin)
        yield LoadedPlugin(loaded.registry)


def plugin_name(plugin: object) -> str:
    """Return the name that stands for a plugin in a configuration of its own tests."""
    return getattr(plugin, "__name__", type(plugin).__name__).removeprefix("mcpserve_")
