"""The plugin's ``config:``: the name of a provider and a section for each, made of the table."""

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    create_model,
    field_validator,
    model_validator,
)

from mcpserve import __version__
from mcpserve_search_web.provider import Provider
from mcpserve_search_web.providers import DEFAULT, PROVIDERS


class Fetching(BaseModel):
    """What the tool ``fetch`` may read, and how much of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_characters: int = Field(
        20_000, ge=1_000, description="Characters of one answer; the rest is had with offset."
    )
    max_bytes: int = Field(
        3_000_000, ge=10_000, le=20_000_000, description="Longest page, unpacked."
    )
    timeout: float = Field(15, gt=0, le=60, description="Seconds for a page, redirects included.")
    extraction_timeout: float = Field(
        10,
        gt=0,
        le=60,
        description="Seconds for making text of a page; together with timeout less than the "
        "timeout of the tool.",
    )
    user_agent: str = Field(
        f"Mozilla/5.0 (compatible; mcpserve/{__version__})",
        pattern=r"^[ -~]+$",
        description="User-Agent that sites see.",
    )
    ports: frozenset[int] = Field(
        frozenset({80, 443}),
        description="Ports that may be asked; others belong to services that are no web sites.",
    )
    private_networks: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="Networks that are not public and may be read nevertheless, e.g. "
        "10.1.0.0/16: everybody who may call fetch can read all that is there.",
    )


class Choice(BaseModel):
    """What is there whatever the provider."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str = Field(
        DEFAULT, description="Which service searches.", json_schema_extra={"enum": [*PROVIDERS]}
    )
    timeout: float = Field(
        10, gt=0, le=60, description="Seconds to wait for a connection, and then for an answer."
    )
    fetch: Fetching = Field(Fetching(), description=Fetching.__doc__)

    @model_validator(mode="before")
    @classmethod
    def _chosen_section_is_there(cls, values: Any) -> Any:
        """So that a key missing in it is reported with the path at which to write it."""
        chosen = values.get("provider", DEFAULT) if isinstance(values, dict) else None
        if chosen in [*PROVIDERS] and values.get(chosen) is None:
            return {**values, chosen: {}}
        return values

    @field_validator("provider")
    @classmethod
    def _provider_is_known(cls, name: str) -> str:
        if name not in PROVIDERS:
            raise ValueError(f"must be one of {', '.join(PROVIDERS)}")
        return name

    @property
    def chosen(self) -> Provider:
        """The provider with its settings."""
        provider: Provider = getattr(self, self.provider)
        return provider


SECTIONS: dict[str, Any] = {
    name: (section | None, Field(None, description=section.__doc__))
    for name, section in PROVIDERS.items()
}

Config = create_model("Config", __base__=Choice, __doc__="Settings of the plugin.", **SECTIONS)
