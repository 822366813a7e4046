"""Everything that we use of the SDK, in the shape that we rely on."""

import inspect

import mcp_types
import pytest
from mcp.server import caching, connection, elicitation, lowlevel, runner
from mcp.server.mcpserver import exceptions
from mcp.server.mcpserver.resources import templates
from mcp.server.mcpserver.utilities import func_metadata
from mcp.shared import inbound, jsonrpc_dispatcher, message, transport_context, uri_template

FUNCTIONS = {
    runner.serve_one: ["server", "dctx", "method", "params", "connection", "lifespan_state"],
    connection.Connection.from_envelope: [
        "protocol_version",
        "client_info",
        "client_capabilities",
        "outbound",
    ],
    inbound.classify_inbound_request: ["body", "headers", "supported_modern_versions"],
    inbound.find_duplicated_routing_header: ["headers"],
    inbound.unsupported_protocol_version_rejection: ["requested", "supported_modern_versions"],
    inbound.validate_mcp_param_headers: ["input_schema", "arguments", "headers"],
    inbound.x_mcp_header_map: ["input_schema"],
    inbound.find_invalid_x_mcp_header: ["input_schema"],
    jsonrpc_dispatcher.handler_exception_to_error_data: ["exc"],
    jsonrpc_dispatcher.progress_token_from_params: ["params"],
    elicitation.render_elicitation_schema: ["schema"],
    lowlevel.Server.add_request_handler: ["self", "method", "params_type", "handler"],
    uri_template.UriTemplate.parse: ["template", "max_length", "max_variables"],
    uri_template.UriTemplate.match: ["self", "uri", "max_uri_length"],
    templates.DEFAULT_RESOURCE_SECURITY.validate: ["params"],
    func_metadata.func_metadata: ["func", "skip_names", "structured_output"],
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_a_function_of_the_sdk_takes_what_we_give_it(function):
    assert list(inspect.signature(function).parameters) == FUNCTIONS[function]


def test_the_kernel_server_takes_our_handlers_and_has_middleware_to_clear():
    server = lowlevel.Server("name", version="1", instructions="i", cache_hints={})
    assert isinstance(server.middleware, list)


def test_a_context_carries_our_request_through():
    fields = inspect.signature(message.ServerMessageMetadata).parameters
    assert "request_context" in fields


def test_the_names_that_are_plain_data_exist():
    assert caching.CacheHint(1, "public").ttl_ms == 1
    assert issubclass(exceptions.ToolError, Exception)
    assert inbound.ERROR_CODE_HTTP_STATUS[mcp_types.METHOD_NOT_FOUND] == 404
    assert inbound.MCP_PROTOCOL_VERSION_HEADER == "mcp-protocol-version"
    assert transport_context.TransportContext(kind="x", can_send_request=False).headers is None


def test_the_argument_model_can_be_replaced_by_a_stricter_one():
    def function(a: int) -> int:
        return a

    metadata = func_metadata.func_metadata(function)
    assert metadata.validate_arguments({"a": 1}) == {"a": 1}
    assert metadata.model_copy(update={"arg_model": metadata.arg_model}).arg_model
