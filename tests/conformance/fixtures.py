"""The plugin that the conformance suite looks for: what it calls, reads, gets and completes.

Names, texts and arguments are the suite's.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Annotated, Literal

from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ListRootsRequest,
    SamplingMessage,
)
from pydantic import BaseModel, Field

from mcpserve import (
    Answer,
    AudioContent,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    TextContent,
    TextResourceContents,
    ToolContext,
    ToolError,
    hookimpl,
    prompt,
    resource,
)

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
"""One red dot."""
WAV = base64.b64encode(
    b"RIFF"
    + (36).to_bytes(4, "little")
    + b"WAVEfmt "
    + (16).to_bytes(4, "little")
    + bytes.fromhex("0100 0100 401f0000 401f0000 0100 0800")
    + b"data"
    + bytes(4)
).decode()
"""No sound at all."""


class Name(BaseModel):
    name: str


class Color(BaseModel):
    color: str


class Confirmation(BaseModel):
    ok: bool


class Context(BaseModel):
    context: str


class User(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


class Choices(BaseModel):
    single: Literal["option1", "option2", "option3"]
    several: list[Literal["option1", "option2", "option3"]]


@hookimpl
def mcpserve_tools():
    return [*CONTENTS, *REPORTS, *QUESTIONS, *ROUNDS, test_custom_header]


@hookimpl
def mcpserve_resources():
    return [static_text, static_binary, watched, template]


@hookimpl
def mcpserve_prompts():
    return [
        test_simple_prompt,
        test_prompt_with_arguments,
        test_prompt_with_embedded_resource,
        test_prompt_with_image,
        test_input_required_result_prompt,
    ]


# Content


def image() -> ImageContent:
    return ImageContent(data=PNG, mime_type="image/png")


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(resource=contents)


def test_simple_text() -> TextContent:
    """Return text."""
    return TextContent(text="This is a simple text response for testing.")


def test_image_content() -> ImageContent:
    """Return an image."""
    return image()


def test_audio_content() -> AudioContent:
    """Return a sound."""
    return AudioContent(data=WAV, mime_type="audio/wav")


def test_embedded_resource() -> EmbeddedResource:
    """Return a resource."""
    return embedded("test://embedded-resource", "This is an embedded resource content.")


def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Return a text, an image and a resource."""
    data = json.dumps({"test": "data", "value": 123})
    return [
        TextContent(text="Multiple content types test:"),
        image(),
        embedded("test://mixed-content-resource", data, "application/json"),
    ]


def test_error_handling() -> str:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


CONTENTS = [
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_error_handling,
]


# What is told while a call runs


async def test_tool_with_progress(ctx: ToolContext) -> str:
    """Tell how far it is."""
    for done in (0, 50, 100):
        await ctx.progress(done, 100)
        await asyncio.sleep(0.05)
    return "done"


async def test_tool_with_logging(ctx: ToolContext) -> str:
    """Tell what it does."""
    for message in ("execution started", "processing data", "execution completed"):
        await ctx.log("info", f"Tool {message}")
        await asyncio.sleep(0.05)
    return "done"


async def test_logging_tool(ctx: ToolContext) -> str:
    """Tell one thing."""
    await ctx.log("info", "called")
    return "done"


REPORTS = [test_tool_with_progress, test_tool_with_logging, test_logging_tool]


# Questions


def sampling(text: str, max_tokens: int = 100) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=text))
    params = CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    return CreateMessageRequest(params=params)


def form(message: str) -> ElicitRequest:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def outcome(answer: Answer) -> str:
    content = answer.data.model_dump_json() if answer.data else "{}"
    return f"action={answer.action}, content={content}"


async def test_sampling(prompt: str, ctx: ToolContext) -> str:
    """Ask the model of the client."""
    answers = await ctx.ask({"answer": sampling(prompt)})
    return f"LLM response: {answers['answer'].content.text}"


async def test_elicitation(message: str, ctx: ToolContext) -> str:
    """Ask the person."""
    return f"User response: {outcome(await ctx.elicit(message, User))}"


async def test_elicitation_sep1034_defaults(ctx: ToolContext) -> str:
    """Ask with answers that are filled in."""
    return f"Elicitation completed: {outcome(await ctx.elicit('All of it', Defaults))}"


async def test_elicitation_sep1330_enums(ctx: ToolContext) -> str:
    """Ask for choices."""
    return f"Elicitation completed: {outcome(await ctx.elicit('Choose', Choices))}"


async def test_streaming_elicitation(ctx: ToolContext) -> str:
    """Ask a client that reads a stream."""
    return outcome(await ctx.elicit("What is your name?", Name))


async def test_missing_capability(ctx: ToolContext) -> str:
    """Ask for what the client may be unable to do."""
    answers = await ctx.ask({"answer": sampling("Say something")})
    return answers["answer"].content.text


QUESTIONS = [
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_streaming_elicitation,
    test_missing_capability,
]


# Calls in several rounds (SEP-2322)


async def test_input_required_result_elicitation(ctx: ToolContext) -> str:
    """Greet the person by name."""
    answer = await ctx.elicit("What is your name?", Name, key="user_name")
    return f"Hello, {answer.data.name}!" if answer.data else answer.action


async def test_input_required_result_sampling(ctx: ToolContext) -> str:
    """Ask the model of the client."""
    answers = await ctx.ask({"capital_question": sampling("What is the capital of France?")})
    return answers["capital_question"].content.text


async def test_input_required_result_list_roots(ctx: ToolContext) -> str:
    """Ask for the folders of the client."""
    answers = await ctx.ask({"client_roots": ListRootsRequest()})
    return " ".join(str(root.uri) for root in answers["client_roots"].roots)


async def test_input_required_result_request_state(ctx: ToolContext) -> str:
    """Ask, so that there is a state to bring back."""
    await ctx.elicit("Please confirm", Confirmation, key="confirm")
    return "state-ok"


async def test_input_required_result_tampered_state(ctx: ToolContext) -> str:
    """Ask, so that there is a state to tamper with."""
    await ctx.elicit("Please confirm", Confirmation, key="confirm")
    return "state-ok"


async def test_input_required_result_multiple_inputs(ctx: ToolContext) -> str:
    """Ask for three things at once."""
    requests = {
        "user_name": form("What is your name?"),
        "greeting": sampling("Generate a greeting", 50),
        "client_roots": ListRootsRequest(),
    }
    answers = await ctx.ask(requests)
    return answers["greeting"].content.text


async def test_input_required_result_multi_round(ctx: ToolContext) -> str:
    """Ask twice, one after the other."""
    name = await ctx.elicit("Step 1: What is your name?", Name, key="step1")
    color = await ctx.elicit("Step 2: What is your favorite color?", Color, key="step2")
    return f"{outcome(name)}, {outcome(color)}"


async def test_input_required_result_capabilities(ctx: ToolContext) -> str:
    """Ask for as much as the client can do."""
    requests = {"user_name": form("What is your name?"), "greeting": sampling("Greet", 50)}
    answers = await ctx.ask({key: asked for key, asked in requests.items() if ctx.can_ask(asked)})
    return ", ".join(answers)


ROUNDS = [
    test_input_required_result_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
    test_input_required_result_capabilities,
]


# Arguments that are headers, too (SEP-2243)


def test_custom_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
) -> str:
    """Take an argument that a proxy may see."""
    return region


# Resources


@resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


@resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """An image."""
    return base64.b64decode(PNG)


@resource("test://watched-resource")
def watched() -> str:
    """What a client of a stateful server would subscribe to."""
    return "This does not change."


@resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> dict[str, object]:
    """Data about anything."""
    return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}


# Prompts


@prompt
def test_simple_prompt() -> str:
    """Say something."""
    return "This is a simple prompt for testing."


@prompt
def test_prompt_with_arguments(
    arg1: Annotated[str, Field(description="First test argument")],
    arg2: Annotated[str, Field(description="Second test argument")],
) -> str:
    """Say what you are told."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@test_prompt_with_arguments.completes("arg1")
def cities(value: str, others: Mapping[str, str]) -> list[str]:
    return [city for city in ("test-city", "paris", "park", "party") if city.startswith(value)]


@prompt
def test_prompt_with_embedded_resource(
    resourceUri: Annotated[str, Field(description="What to embed")],
) -> list[EmbeddedResource | str]:
    """Show a resource."""
    return [
        embedded(resourceUri, "Embedded resource content for testing."),
        "Please process the embedded resource above.",
    ]


@prompt
def test_prompt_with_image() -> list[ImageContent | str]:
    """Show an image."""
    return [image(), "Please analyze the image above."]


@prompt
async def test_input_required_result_prompt(ctx: ToolContext) -> PromptMessage:
    """Ask first."""
    question = "What context should the prompt use?"
    answer = await ctx.elicit(question, Context, key="user_context")
    context = answer.data.context if answer.data else answer.action
    return PromptMessage(role="user", content=TextContent(text=f"The context is {context}."))
