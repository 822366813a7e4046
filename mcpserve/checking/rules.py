"""Every rule with its code; ``docs/reference/plugin-checks.md`` is this table.

A code is never given another meaning: people leave them in their notes and tools.
"""

from mcpserve.checking.findings import Rule, Severity

ERROR, WARNING = Severity.ERROR, Severity.WARNING

SLOW_IMPORT_SECONDS = 0.5
BLOCKED_SECONDS = 0.1
LONG_NAME = 40
"""Clients put the server's name in front, and cut or refuse what is longer than 63 or 64."""
LONG_DESCRIPTION = 2048
"""Some clients cut off what is longer."""
LARGE_SCHEMA = 10_000
LARGE_RESULT = 150_000
"""Claude's limit."""
LONG_STATUS = 64
MANY_PROGRESS = 1000

# fmt: off
IMPORT = Rule("P101", ERROR, "cannot be imported", "Mend the import; try it with `python -c 'import MODULE'` in the environment of the server.")
HOOKS = Rule("P102", ERROR, "implements a hook wrongly", "Implement only the hooks of docs/reference/hooks.md, with arguments of these names.")
CONFIG = Rule("P103", ERROR, "does not accept its config", "Write what it needs under `plugins.NAME.config` in a config.yaml, and name that with `-c`.")
LOAD = Rule("P104", ERROR, "cannot be loaded", "Mend the hook that is named; `serve` refuses to start with the same message.")
HANGS = Rule("P105", ERROR, "does not come to an end", "Bound whatever waits with a timeout of its own, or do it at the first call.")
ENDS = Rule("P106", ERROR, "ends the process", "Raise an exception where it exits, and run what may crash in a process of its own.")
SLOW_IMPORT = Rule("P107", WARNING, "is slow to import", "Import the slow modules inside of the functions that need them.")
TASKS = Rule("P108", ERROR, "leaves a task behind when it is closed", "Cancel and await the task in a callback of `exit_stack`, or use a task group in it.")
THREADS = Rule("P109", ERROR, "leaves a thread behind when it is closed", "End and join the thread in a callback of `exit_stack`.")
CLOSE = Rule("P110", ERROR, "fails while it is closed", "Mend the callback that it put into `exit_stack`.")
PRINTS = Rule("P111", WARNING, "prints", "Use `logging`: lines then have a time, a level and the id of the request.")
NOTHING = Rule("P112", WARNING, "offers nothing and observes nothing", "Implement `mcpserve_tools` or another hook, marked with `@hookimpl`.")

LONG_TOOL_NAME = Rule("P201", WARNING, "has a long name", f"Use {LONG_NAME} characters at most: clients put the server's name in front and cut after 63.")
NO_DESCRIPTION = Rule("P202", ERROR, "has no description", "Write a docstring that says what it does and when to use it; a model knows nothing else.")
LONG_TEXT = Rule("P203", WARNING, "has a long description", f"Use {LONG_DESCRIPTION} characters at most, since clients cut off the rest; describe arguments at the arguments.")
NO_ARGUMENT_DESCRIPTION = Rule("P204", WARNING, "has no description", 'Annotate it: `Annotated[str, Field(description="…")]`.')
ARGUMENT_NAME = Rule("P205", ERROR, "has a name that clients refuse", "Use 1 to 64 of A-Z a-z 0-9 _ . - in names of arguments.")
LARGE_INPUT = Rule("P206", WARNING, "has a large input schema", f"Keep it below {LARGE_SCHEMA} characters, it is sent with every list; use fewer arguments or several tools.")
TOP_LEVEL = Rule("P207", ERROR, "has an input schema that clients refuse", "Let the schema be a plain object: no anyOf, oneOf, allOf, enum, not or $ref at its top.")
REFERENCES = Rule("P208", WARNING, "has an input schema with $ref, which some clients do not follow", "Take plain arguments (text, numbers, lists) instead of models, and Literal instead of an Enum.")
HINT = Rule("P209", ERROR, "leaves out a hint", "Say all of read_only_hint, destructive_hint and open_world_hint in `annotations=ToolAnnotations(…)`.")
CONTRADICTION = Rule("P210", ERROR, "is read-only and destructive", "Say read_only_hint=True only of what changes nothing, and destructive_hint=False with it.")
NO_WORLD = Rule("P211", WARNING, "says that it is open to the world, and the plugin reaches no network", "Say open_world_hint=False of what works with the data of this server only.")
NO_PAGE = Rule("P212", ERROR, "is shown on a resource that is no page", "Make the resource with `app_page` and the tool's meta with `shown_on`.")
LONG_STATUS_TEXT = Rule("P213", ERROR, "has a status text that ChatGPT refuses", f"Use {LONG_STATUS} characters at most in openai/toolInvocation/invoking and invoked.")
SCOPE_UNDOCUMENTED = Rule("P214", WARNING, "needs a scope that the README does not name", "Say in the README what the scope allows: the operator has to grant it.")
GENERATOR = Rule("P215", ERROR, "is a generator, so every call of it fails", "Return all at once instead of `yield`: a list, or one text.")

EXTRA = Rule("P301", ERROR, "accepts unknown keys", 'Give the model `ConfigDict(extra="forbid")`, so that a mistyped key is told.')
FIELD_DESCRIPTION = Rule("P302", WARNING, "has no description", "Write `Field(description=…)`: it is what `mcpserve schema` shows in editors.")
PLAIN_SECRET = Rule("P303", ERROR, "sounds like a secret and is plain text", "Declare it as `SecretStr`, so that it is shown nowhere.")
DEFAULT = Rule("P304", ERROR, "has a default that the model itself refuses", "Correct the default, or leave it out.")

BLOCKS = Rule("P401", ERROR, "blocks the event loop, and with it every other call", "Await an async client, use `asyncio.to_thread`, or write `def` instead of `async def`: that runs in a thread.")
FILES = Rule("P402", WARNING, "works with files on the event loop", "Do it once at the start, use `asyncio.to_thread`, or write `def` instead of `async def`.")
UNREADABLE = Rule("P403", ERROR, "cannot be read as Python", "Correct the file.")

NO_PACKAGE = Rule("P501", WARNING, "is in no package", "Add a pyproject.toml: a server finds plugins by the entry points of installed packages.")
NO_ENTRY_POINT = Rule("P502", ERROR, "is no entry point of its package", 'Add `[project.entry-points.mcpserve]` with `name = "module"` to pyproject.toml.')
NOT_REQUIRED = Rule("P503", ERROR, "does not require mcpserve", 'Add "mcpserve" to `dependencies`.')
NO_PY_TYPED = Rule("P504", WARNING, "has no py.typed", "Add an empty file py.typed to the package and to its package data.")
NO_VERSION = Rule("P505", WARNING, "has no version", "Give the package a `version` (`plugin list` shows it).")
PREFIX = Rule("P506", WARNING, "is not named as a plugin", "Name the package mcpserve-…: that is how people find plugins.")
NO_SUMMARY = Rule("P507", WARNING, "has no description", "Give the package a `description`.")
NO_README = Rule("P508", WARNING, "has no README", "Add a README that shows config.yaml and an example call, and name it as `readme`.")

CALL_FAILED = Rule("P601", ERROR, "crashes or does not answer", "Raise `ToolError` with what the model can do about it; give waiting a timeout.")
CALL_ERROR = Rule("P602", WARNING, "answers with an error", "Give `--arg` values that work, or mend the tool.")
SECRET_TOLD = Rule("P603", ERROR, "tells a secret of its config to the client", "Leave it out of results, errors, progress and log messages to the client.")
SECRET_LOGGED = Rule("P604", ERROR, "writes a secret of its config into the log", "Log the name of the setting, not its value; look at what the libraries log, too.")
CALL_BLOCKS = Rule("P605", WARNING, f"blocks the event loop for more than {BLOCKED_SECONDS} s", "Write `def` instead of `async def`, or move the work to `asyncio.to_thread`.")
LARGE = Rule("P606", WARNING, "answers with more than clients take", f"Answer with {LARGE_RESULT} characters at most; tell where the rest is had.")
PROGRESS = Rule("P607", WARNING, "reports progress very often", f"Report it {MANY_PROGRESS} times a call at most.")
# fmt: on

RULES = tuple(rule for rule in globals().values() if isinstance(rule, Rule))
"""In the order of their codes."""
