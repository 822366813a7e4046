"""Resources as their authors write them: a function under a URI, or under a template of URIs."""

import base64
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types
import pydantic_core
from mcp.server.mcpserver.resources.templates import DEFAULT_RESOURCE_SECURITY
from mcp.shared.uri_template import UriTemplate
from mcp_types import (
    Annotations,
    BlobResourceContents,
    Icon,
    ReadResourceResult,
    ResourceContents,
    TextResourceContents,
)

from mcpserve.completion import Completable
from mcpserve.tools import Function, ToolError, describe

__all__ = ["Resource", "ResourceNotFound", "resource"]

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
URI = re.compile(SCHEME.pattern + r'[^\s\x00-\x1f\x7f<>"{}|\\^`]+')
"""RFC 3986, but for letters that are not ASCII; a template fits nothing else."""


class ResourceNotFound(ToolError):
    """Raise it from the function of a template when there is nothing under the URI."""


@dataclass(frozen=True, kw_only=True)
class Resource(Completable):
    """A resource, or a template of resources, as its author wrote it."""

    kind = "resource"

    uri: str
    mime_type: str | None = None
    annotations: Annotations | None = None
    size: int | None = None

    @property
    def key(self) -> str:
        """See :class:`~mcpserve.tools.Offer`: the URI, or the template."""
        return self.uri

    @functools.cached_property
    def template(self) -> UriTemplate:
        """What a URI is compared with."""
        return UriTemplate.parse(self.uri)

    @property
    def is_template(self) -> bool:
        """Whether it stands for many resources."""
        return bool(self.template.variables)

    def match(self, uri: str) -> Mapping[str, str | list[str]] | None:
        """Return the arguments in a URI; ``None`` if it is not one of this template.

        Raises :class:`ResourceNotFound` for an argument that would lead out of a folder.
        """
        if not URI.fullmatch(uri):
            return None
        arguments = self.template.match(uri)
        if arguments is not None and DEFAULT_RESOURCE_SECURITY.validate(arguments):
            raise ResourceNotFound("Resource not found")
        return arguments

    @functools.cached_property
    def definition(self) -> mcp_types.Resource | mcp_types.ResourceTemplate:
        """The resource as ``resources/list`` shows it, or as ``resources/templates/list`` does."""
        told = self.told | {"mime_type": self.mime_type, "annotations": self.annotations}
        if self.is_template:
            return mcp_types.ResourceTemplate(uri_template=self.uri, **told)
        return mcp_types.Resource(uri=self.uri, size=self.size, **told)

    def result(self, value: Any, *, uri: str) -> ReadResourceResult:
        """Make contents of what the function returned for this URI."""
        contents = value if isinstance(value, list | tuple) else [value]
        if contents and all(isinstance(item, ResourceContents) for item in contents):
            return ReadResourceResult(contents=list(contents))
        return ReadResourceResult(contents=[self._content(value, uri)])

    def _content(self, value: Any, uri: str) -> TextResourceContents | BlobResourceContents:
        meta = self.told["_meta"]
        if isinstance(value, bytes):
            blob = base64.b64encode(value).decode()
            mime_type = self.mime_type or "application/octet-stream"
            return BlobResourceContents(uri=uri, mime_type=mime_type, blob=blob, _meta=meta)
        if value is None:
            raise TypeError("a resource cannot return None; raise ResourceNotFound")
        mime_type = self.mime_type or "text/plain"
        if not isinstance(value, str):
            value = pydantic_core.to_json(value, inf_nan_mode="null").decode()
            mime_type = self.mime_type or "application/json"
        return TextResourceContents(uri=uri, mime_type=mime_type, text=value, _meta=meta)


def resource(
    uri: str,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    mime_type: str | None = None,
    size: int | None = None,
    scopes: Sequence[str] = (),
    timeout: float | None = None,
    annotations: Annotations | None = None,
    icons: Sequence[Icon] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Callable[[Function], Resource]:
    """Make a :class:`Resource` of a function, plain or ``async``, that returns its content.

    In ``weather://{city}/now`` the function's argument is ``city``; ``{+path}`` takes slashes
    too (RFC 6570). Name and description come from the function itself. ``size`` is in bytes,
    ``timeout`` in seconds.

    Raises :class:`TypeError` or :class:`ValueError` if URI and function do not fit together.
    """
    return functools.partial(
        resource_from_function,
        uri=uri,
        name=name,
        title=title,
        description=description,
        mime_type=mime_type,
        size=size,
        scopes=scopes,
        timeout=timeout,
        annotations=annotations,
        icons=icons,
        meta=meta,
    )


def resource_from_function(function: Function, *, uri: str, **told: Any) -> Resource:
    """See :func:`resource`."""
    made = Resource(uri=uri, **describe(Resource.kind, function, structured_output=False, **told))
    variables = set(made.template.variable_names)
    if not (SCHEME.match(uri) if variables else URI.fullmatch(uri)):
        raise ValueError(f"resource {made.name!r}: {uri!r} is no URI such as notes://{{name}}")
    if variables != set(made.arguments):
        raise ValueError(
            f"resource {made.name!r}: {uri!r} has the arguments {told_names(variables)}, "
            f"the function {told_names(made.arguments)}"
        )
    for name in sorted(made.template.query_variable_names):
        if made.arguments[name].is_required():
            raise ValueError(f"resource {made.name!r}: {name!r} may be missing, give it a default")
    if made.size is not None and variables:
        raise ValueError(f"resource {made.name!r}: a template has no size")
    return made


def told_names(names: Any) -> str:
    """Return names in a fixed order."""
    return ", ".join(sorted(names)) or "none"
