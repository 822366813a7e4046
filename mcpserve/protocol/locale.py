"""The locale of the person at the client, as far as that tells. A hint, which anybody can send."""

from typing import Any

from mcpserve import language_tags
from mcpserve.protocol.messages import Headers

META_KEY = "openai/locale"
"""Where ChatGPT says it; the protocol itself has no place for it."""


def locale_of(meta: Any, headers: Headers) -> str | None:
    """Return a well-formed language tag, ``None`` if the request has none.

    What the message itself says wins over ``Accept-Language``, which may be that of a program.
    """
    said = meta.get(META_KEY) if isinstance(meta, dict) else None
    tag = language_tags.normal(said) if isinstance(said, str) else None
    header = headers.folded.get("accept-language")
    return language_tags.preferred(header) if header and tag is None else tag
