"""Everything that we use of the SDK, in the shape that we rely on."""

import ast
import inspect
from pathlib import Path

import mcp_types
import pytest
from mcp.server import caching, connection, context, elicitation, lowlevel, runner
from mcp.server.mcpserver import exceptions
from mcp.server.mcpserver.resources import templates
from mcp.server.mcpserver.utilities import func_metadata
from mcp.shared import (
    dispatcher,
    inbound,
    jsonrpc_dispatcher,
    message,
    transport_context,
    uri_template,
)
from mcp.shared import exceptions as errors
from mcp_types import version

from mcpserve.protocol.dispatch import Dispatch

PACKAGE = Path(__file__).parents[2] / "mcpserve"

USED = {
    "mcp.client.client": "Client",
    "mcp.client.streamable_http": "streamable_http_client",
    "mcp.server.caching": "CacheHint",
    "mcp.server.connection": "Connection",
    "mcp.server.context": "ServerRequestContext",
    "mcp.server.elicitation": "render_elicitation_schema",
    "mcp.server.lowlevel.server": "Server",
    "mcp.server.mcpserver.exceptions": "ToolError",
    "mcp.server.mcpserver.resources.templates": "DEFAULT_RESOURCE_SECURITY",
    "mcp.server.mcpserver.utilities.func_metadata": "FuncMetadata func_metadata",
    "mcp.server.runner": "ServerRunner",
    "mcp.shared._httpx_utils": "create_mcp_http_client",
    "mcp.shared.dispatcher": "CallOptions",
    "mcp.shared.exceptions": "MCPError NoBackChannelError",
    "mcp.shared.inbound": """
        ERROR_CODE_HTTP_STATUS InboundLadderRejection MCP_METHOD_HEADER MCP_NAME_HEADER
        MCP_PARAM_HEADER_PREFIX MCP_PROTOCOL_VERSION_HEADER classify_inbound_request
        find_invalid_x_mcp_header validate_mcp_param_headers x_mcp_header_map""",
    "mcp.shared.jsonrpc_dispatcher": "handler_exception_to_error_data progress_token_from_params",
    "mcp.shared.message": "ServerMessageMetadata",
    "mcp.shared.transport_context": "TransportContext",
    "mcp.shared.uri_template": "UriTemplate",
    "mcp_types": """
        Annotations AudioContent BlobResourceContents CallToolRequestParams CallToolResult
        ClientCapabilities CompleteRequestParams CompleteResult Completion ContentBlock
        CreateMessageRequest CreateMessageResult CreateMessageResultWithTools ElicitRequest
        ElicitRequestFormParams ElicitRequestURLParams ElicitResult ElicitationCapability
        EmbeddedResource EmptyResult ErrorData FormElicitationCapability GetPromptRequestParams
        GetPromptResult HEADER_MISMATCH INTERNAL_ERROR INVALID_PARAMS INVALID_REQUEST Icon
        ImageContent InputRequest InputRequiredResult InputResponse InputResponseRequestParams
        JSONRPCNotification JSONRPCRequest LOG_LEVEL_META_KEY ListPromptsResult
        ListResourceTemplatesResult ListResourcesResult ListRootsRequest ListRootsResult
        ListToolsResult LoggingLevel METHOD_NOT_FOUND MISSING_REQUIRED_CLIENT_CAPABILITY
        PARSE_ERROR PROTOCOL_VERSION_META_KEY PaginatedRequestParams ProgressToken Prompt
        PromptArgument PromptMessage PromptReference ReadResourceRequestParams ReadResourceResult
        RequestId Resource ResourceContents ResourceLink ResourceTemplate
        ResourceTemplateReference RootsCapability SamplingCapability SamplingToolsCapability
        SetLevelRequestParams TextContent TextResourceContents Tool ToolAnnotations
        UNSUPPORTED_PROTOCOL_VERSION UrlElicitationCapability""",
    "mcp_types.version": """
        HANDSHAKE_PROTOCOL_VERSIONS LATEST_HANDSHAKE_VERSION MODERN_PROTOCOL_VERSIONS""",
}
"""Every name that the package imports of the SDK, by module."""

FUNCTIONS = {
    runner.ServerRunner: ["server", "connection", "lifespan_state", "init_options"],
    connection.Connection.from_envelope: [
        "protocol_version",
        "client_info",
        "client_capabilities",
        "outbound",
    ],
    inbound.classify_inbound_request: ["body", "headers", "supported_modern_versions"],
    inbound.validate_mcp_param_headers: ["input_schema", "arguments", "headers"],
    inbound.x_mcp_header_map: ["input_schema"],
    inbound.find_invalid_x_mcp_header: ["input_schema"],
    jsonrpc_dispatcher.handler_exception_to_error_data: ["exc"],
    jsonrpc_dispatcher.progress_token_from_params: ["params"],
    errors.MCPError: ["code", "message", "data"],
    errors.NoBackChannelError: ["method"],
    elicitation.render_elicitation_schema: ["schema"],
    lowlevel.Server.add_request_handler: ["self", "method", "params_type", "handler"],
    uri_template.UriTemplate.parse: ["template", "max_length", "max_variables"],
    uri_template.UriTemplate.match: ["self", "uri", "max_uri_length"],
    templates.DEFAULT_RESOURCE_SECURITY.validate: ["params"],
    func_metadata.func_metadata: ["func", "skip_names", "structured_output"],
}


def imported(source):
    """Yield the names that a module imports of the SDK, each with the module that has it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str() as module, names=names):
                found = [(module, alias.name) for alias in names]
            case ast.Import(names=names):
                # Names of this one are seen where they are used; of others they would not be.
                found = [(alias.name, "") for alias in names if alias.name != "mcp_types"]
            case ast.Attribute(value=ast.Name(id="mcp_types"), attr=name):
                found = [("mcp_types", name)]
            case _:
                found = []
        yield from (pair for pair in found if pair[0].split(".")[0] in {"mcp", "mcp_types"})


def test_nothing_else_of_the_sdk_is_used():
    sources = [path.read_text() for path in PACKAGE.rglob("*.py")]
    found = {pair for source in sources for pair in imported(source)}
    assert found == {(module, name) for module in USED for name in USED[module].split()}


@pytest.mark.parametrize(
    ("source", "pair"),
    [
        ("from mcp.server import runner", ("mcp.server", "runner")),
        ("import mcp.server.runner as runner", ("mcp.server.runner", "")),
        ("import mcp", ("mcp", "")),
        ("def f():\n    from mcp_types import Tool as T", ("mcp_types", "Tool")),
        ("import mcp_types\nmcp_types.Tool()", ("mcp_types", "Tool")),
    ],
)
def test_no_way_of_using_the_sdk_is_overlooked(source, pair):
    assert list(imported(source)) == [pair]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_a_function_of_the_sdk_takes_what_we_give_it(function):
    assert list(inspect.signature(function).parameters) == FUNCTIONS[function]


def test_the_kernel_server_takes_our_handlers_and_has_middleware_to_clear():
    server = lowlevel.Server("name", version="1", instructions="i", cache_hints={})
    assert isinstance(server.middleware, list)
    assert isinstance(lowlevel.Server.server_info_stamp, property)


def test_a_context_carries_our_request_through():
    fields = inspect.signature(message.ServerMessageMetadata).parameters
    assert "request_context" in fields
    told = {"session", "protocol_version", "method", "request"}
    assert told <= inspect.signature(context.ServerRequestContext).parameters.keys()


def test_the_dispatch_context_has_no_member_that_ours_lacks():
    members = {name for name in vars(dispatcher.DispatchContext) if not name.startswith("_")}
    assert members <= {*inspect.signature(Dispatch).parameters, *dir(Dispatch)}


def test_the_names_that_are_plain_data_exist():
    assert caching.CacheHint(1, "public").ttl_ms == 1
    assert issubclass(exceptions.ToolError, Exception)
    assert inbound.ERROR_CODE_HTTP_STATUS[mcp_types.METHOD_NOT_FOUND] == 404
    assert inbound.MCP_PROTOCOL_VERSION_HEADER == "mcp-protocol-version"
    assert version.MODERN_PROTOCOL_VERSIONS == ("2026-07-28",)
    assert version.HANDSHAKE_PROTOCOL_VERSIONS[-1] == version.LATEST_HANDSHAKE_VERSION
    assert transport_context.TransportContext(kind="x", can_send_request=False).headers is None


def test_the_argument_model_can_be_replaced_by_a_stricter_one():
    def function(a: int) -> int:
        return a

    metadata = func_metadata.func_metadata(function)
    assert metadata.validate_arguments({"a": 1}) == {"a": 1}
    assert metadata.model_copy(update={"arg_model": metadata.arg_model}).arg_model
