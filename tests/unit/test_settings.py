from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mcpserve.setting_types import (
    format_duration,
    parse_cors_origin,
    parse_document_host,
    parse_duration,
    parse_host,
    parse_origin,
    parse_public_url,
)
from mcpserve.settings import Section, ServerSettings, Settings, explain


def problems(**sections: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(sections)
    return explain(caught.value)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("15m", 900),
        ("12h", 43_200),
        ("30d", 2_592_000),
        ("1h30m", 5_400),
        ("0.5s", 0.5),
        ("90", 90),
        (90, 90),
        (0.25, 0.25),
        (0, 0),
        ("3650d", 315_360_000),
    ],
)
def test_a_duration_is_read(written, seconds):
    assert parse_duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "m",
        "15 m",
        "15M",
        "-1s",
        -1,
        True,
        None,
        "1h30",
        "1e3s",
        "٣s",
        "3651d",
        "9" * 400 + "d",
        float("inf"),
        float("nan"),
        10**30,
        ["1s"],
    ],
)
def test_what_is_no_duration_is_refused(written):
    with pytest.raises(ValueError, match="must be a duration such as"):
        parse_duration(written)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3649)))
def test_a_duration_that_was_written_is_read_back(value):
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (timedelta(0), "0s"),
        (timedelta(minutes=90), "90m"),
        (timedelta(days=30), "30d"),
        (timedelta(seconds=1_234_567), "1234567s"),
        (timedelta(milliseconds=50), "0.05s"),
    ],
)
def test_a_duration_is_written_in_its_largest_unit(value, written):
    assert format_duration(value) == written


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://mcp.example.org", "https://mcp.example.org"),
        ("https://mcp.example.org/", "https://mcp.example.org"),
        ("https://mcp.example.org:443", "https://mcp.example.org"),
        ("http://localhost:80/", "http://localhost"),
        ("https://mcp.example.org:80", "https://mcp.example.org:80"),
        ("http://my_service:8080", "http://my_service:8080"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_read_as_browsers_send_it(written, origin):
    assert parse_origin(written) == origin


@pytest.mark.parametrize(
    "written",
    [
        "mcp.example.org",
        "ftp://mcp.example.org",
        "https://",
        "https://MCP.example.org",
        "https://mcp.example.org/path",
        "https://mcp.example.org//",
        "https://mcp.example.org?",
        "https://mcp.example.org?a=b",
        "https://mcp.example.org#",
        "https://user@mcp.example.org",
        "https://@mcp.example.org",
        "https://mcp.example.org:",
        "https://mcp.example.org:port",
        "https://mcp.example.org:99999",
        "https://mcp.\nexample.org",
        "https://mcp.example.org\n",
        "https://mcp.exämple.org",
        "*",
        "null",
    ],
)
def test_what_is_no_origin_is_refused(written):
    with pytest.raises(ValueError, match=r"must be like|Port"):
        parse_origin(written)


@pytest.mark.proves("TR-21")
@pytest.mark.parametrize("url", ["", "https://mcp.example.org", "http://localhost:3000"])
def test_a_public_url_is_safe_or_of_this_machine(url):
    assert parse_public_url(url) == url


@pytest.mark.proves("TR-21", "SE-06")
@pytest.mark.parametrize("url", ["http://mcp.example.org", "http://localhost.example.org"])
def test_a_public_url_without_tls_is_refused(url):
    with pytest.raises(ValueError, match="must be https unless its host is localhost"):
        parse_public_url(url)


def test_cors_may_allow_every_origin():
    assert parse_cors_origin("*") == "*"


@pytest.mark.parametrize("host", ["mcp.example.org", "localhost:3000", "[::1]:3000"])
def test_a_host_is_read(host):
    assert parse_host(host) == host


@pytest.mark.parametrize("host", ["", "https://mcp.example.org", "MCP.example.org", "a/b", "a b"])
def test_what_is_no_host_is_refused(host):
    with pytest.raises(ValueError, match="must be like"):
        parse_host(host)


def test_the_issuer_is_localhost_unless_a_public_url_is_set():
    assert ServerSettings(port=8000).issuer == "http://localhost:8000"
    assert ServerSettings(public_url="https://mcp.example.org/").issuer == "https://mcp.example.org"


def test_the_public_host_is_what_a_host_header_says():
    assert ServerSettings(public_url="https://mcp.example.org:443").public_host == "mcp.example.org"
    assert ServerSettings(port=8000).public_host == "localhost:8000"


def test_a_union_is_explained_in_one_line():
    assert problems(server={"public_url": "x"}) == [
        "server.public_url: must be like https://mcp.example.org, "
        "in lower case, without path, query and user"
    ]


@pytest.mark.parametrize(
    "sections",
    [
        {"oauth": {"access_token_lifetime": 0}},
        {"oauth": {"authorization_code_lifetime": "11m"}},
        {"oauth": {"refresh_reuse_window": "61m"}},
        {"login": {"session_lifetime": 0}},
        {"limits": {"login": {"window": 0}}},
        {"cleanup": {"interval": 0.5}},
        {"plugins": {"x": {"timeout": 0}}},
        {"plugins": {"x": {"tools": {"y": {"timeout": 0}}}}},
    ],
)
def test_a_duration_in_which_nothing_can_happen_is_refused(sections):
    (problem,) = problems(**sections)
    assert ": must be " in problem


def test_half_a_limit_keeps_the_other_half():
    login = Settings.model_validate({"limits": {"login": {"failures": 3}}}).limits.login
    assert (login.failures, login.window) == (3, timedelta(minutes=15))


@pytest.mark.parametrize("name", [*Settings.model_fields])
def test_an_empty_section_is_an_absent_section(name):
    if name not in ("data_dir", "plugins_dir", "tools_lock"):
        assert Settings.model_validate({name: None}) == Settings()


@pytest.mark.parametrize("host", ["*", "client.example.org", "a.example:8443", "x.xn--p1ai"])
def test_a_host_of_documents_is_a_name_or_any(host):
    assert parse_document_host(host) == host


@pytest.mark.parametrize(
    "host", ["*.example.org", "localhost", "a.localhost", "127.0.0.1", "[::1]", "intranet", "A.org"]
)
def test_where_no_document_is_ever_fetched_from_is_no_host_of_documents(host):
    with pytest.raises(ValueError, match="must be a host name such as client"):
        parse_document_host(host)


def test_empty_lists_and_mappings_are_absent():
    empty = {
        "oauth": {"clients": {"configured": None}, "scopes": None},
        "mcp": {"allowed_hosts": None},
    }
    assert Settings.model_validate(empty) == Settings()


def test_a_plugin_with_nothing_below_it_is_loaded_with_defaults():
    settings = Settings.model_validate({"plugins": {"calculator": None}})
    assert settings == Settings.model_validate({"plugins": {"calculator": {}}})
    assert "calculator" in settings.plugins


def test_a_single_value_that_is_empty_is_a_mistake():
    assert problems(server={"port": None}) == ["server.port: must be a whole number"]


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().server.port = 1  # type: ignore[misc]


def test_secrets_do_not_show_when_settings_are_printed():
    settings = Settings.model_validate({"database": {"url": "postgresql://CANARY"}})
    assert "CANARY" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_validation_error_does_not_show_its_input():
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"database": {"url": ["CANARY"]}, "server": "CANARY"})
    assert "CANARY" not in str(caught.value)


def sections(model: type[Section] = Settings) -> list[type[Section]]:
    found = [model]
    for field in model.model_fields.values():
        if isinstance(field.default, Section):
            found += sections(type(field.default))
    return found


@pytest.mark.parametrize("model", sections())
def test_every_setting_is_described(model):
    assert model.__doc__
    for name, field in model.model_fields.items():
        assert isinstance(field.default, Section) or field.description, name
