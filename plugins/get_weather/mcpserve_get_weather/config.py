"""What an operator can set for this plugin."""

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator

from mcpserve_get_weather.units import Choice

FREE_HOSTS = frozenset({"geocoding-api.open-meteo.com", "api.open-meteo.com"})


class Config(BaseModel):
    """The plugin's ``config:``. The defaults are the free service: no key, non-commercial use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    geocoding_url: HttpUrl = Field(
        HttpUrl("https://geocoding-api.open-meteo.com"),
        description="Service that finds places. With an API key: "
        "https://customer-geocoding-api.open-meteo.com",
    )
    forecast_url: HttpUrl = Field(
        HttpUrl("https://api.open-meteo.com"),
        description="Service that forecasts. With an API key: https://customer-api.open-meteo.com",
    )
    timeout: float = Field(
        8.0,
        gt=0,
        le=60,
        description="Seconds for one request to a service; a call makes two at the most.",
    )
    language: str = Field(
        "en",
        pattern="^[a-z]{2}$",
        description="Language of the names of places, regions and countries, given and answered.",
    )
    units: Choice = Field(
        "auto",
        description="Units of calls that leave the choice open: metric, imperial, uk (°C and mph), "
        "or auto for those of the caller's country, else of the place's.",
    )
    cache_for: float = Field(
        600.0,
        ge=0,
        le=86400,
        description="Seconds for which the weather of a place is kept and not asked for again. "
        "0: it is asked for each time, once for calls at the same moment.",
    )
    api_key: SecretStr = Field(
        SecretStr(""), description="Key of a paying customer of Open-Meteo. Empty: none is sent."
    )

    @model_validator(mode="after")
    def _key_goes_to_customer_hosts(self) -> "Config":
        if self.api_key and FREE_HOSTS & {self.geocoding_url.host, self.forecast_url.host}:
            raise ValueError(
                "api_key needs geocoding_url: https://customer-geocoding-api.open-meteo.com "
                "and forecast_url: https://customer-api.open-meteo.com"
            )
        return self
