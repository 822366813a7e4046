import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Literal

import jsonschema
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from docs import generate
from mcpserve.config import Loaded, leaves, load
from mcpserve.config_keys import config_schema
from mcpserve.config_report import effective, json_schema
from mcpserve.config_yaml import parse_value
from mcpserve.errors import ConfigError
from mcpserve.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = sorted((ROOT / "tests/data/config").glob("*.yaml"))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def configured(text: str = "", **environ: str) -> Loaded:
    Path("config.yaml").write_text(text, "utf-8")
    return load(environ=environ)


def problems(text: str = "", **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        configured(text, **environ)
    return str(caught.value).splitlines()


# Golden files: the input, the environment behind `#$`, the expected problems behind `#!`.


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_every_problem_is_reported_in_a_line(golden):
    text = golden.read_text("utf-8")
    lines = text.splitlines()
    environ = dict(line[3:].split("=", 1) for line in lines if line.startswith("#$ "))
    expected = [line[3:] for line in lines if line.startswith("#! ")]
    found = problems(text, **environ)
    assert found == expected
    assert not any("CANARY" in line for line in found)


def test_a_problem_keeps_no_value_in_its_traceback():
    Path("config.yaml").write_text("database: {url: [CANARY]}\nserver: CANARY", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(environ={})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


# Which file


def test_without_a_file_the_defaults_hold():
    loaded = load(environ={})
    assert loaded.path is None
    assert loaded.sources == {}
    assert loaded.settings.model_copy(update={"data_dir": Path(".mcpserve")}) == Settings()


def test_the_usual_file_is_read():
    loaded = configured("server: {port: 9000}")
    assert loaded.path == Path("config.yaml")
    assert loaded.settings.server.port == 9000


def test_the_environment_names_the_file():
    Path("config.yaml").write_text("server: {port: 1}", "utf-8")
    Path("other.yaml").write_text("server: {port: 2}", "utf-8")
    loaded = load(environ={"MCPSERVE_CONFIG": "other.yaml"})
    assert (loaded.path, loaded.settings.server.port) == (Path("other.yaml"), 2)
    assert loaded.sources == {"server.port": "other.yaml"}


def test_the_argument_names_the_file():
    Path("other.yaml").write_text("server: {port: 2}", "utf-8")
    Path("third.yaml").write_text("server: {port: 3}", "utf-8")
    loaded = load(Path("third.yaml"), {"MCPSERVE_CONFIG": "other.yaml"})
    assert loaded.settings.server.port == 3


def test_a_file_that_the_argument_names_must_exist():
    with pytest.raises(ConfigError, match=r"^missing\.yaml: No such file or directory$"):
        load(Path("missing.yaml"), {})


def test_a_file_that_the_environment_names_must_exist():
    with pytest.raises(ConfigError, match=r"^missing\.yaml: .* \(environment MCPSERVE_CONFIG\)$"):
        load(environ={"MCPSERVE_CONFIG": "missing.yaml"})


def test_an_empty_name_of_a_file_is_none():
    assert load(environ={"MCPSERVE_CONFIG": ""}).path is None


def test_a_folder_is_no_file():
    Path("config.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"^config\.yaml: Is a directory$"):
        load(environ={})


def test_the_environment_of_the_process_is_used_by_default(monkeypatch):
    monkeypatch.setenv("PORT", "9000")
    assert load().settings.server.port == 9000


# The file


def test_a_byte_order_mark_is_no_text():
    Path("config.yaml").write_text("server: {port: 9000}", "utf-8-sig")
    assert load(environ={}).settings.server.port == 9000


@pytest.mark.parametrize("content", [b"mcp: {name: \xff}", "mcp: {}".encode("utf-16")])
def test_another_encoding_is_refused(content):
    Path("config.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^config\.yaml: is not UTF-8 text$"):
        load(environ={})


def test_a_control_character_is_refused():
    assert problems("log: {}\nmcp: {name: \x07}") == [
        "config.yaml:2:13: special characters are not allowed"
    ]


@pytest.mark.parametrize("text", ["", "# nothing", "---\n", "server:\nplugins:\n  # x: {}\n"])
def test_an_empty_file_or_section_is_absent(text):
    loaded = configured(text)
    assert loaded.settings == load(Path(os.devnull), {}).settings.model_copy(
        update={"data_dir": loaded.settings.data_dir}
    )
    assert loaded.sources == {}


def test_a_plugin_with_nothing_below_it_is_loaded():
    assert list(configured("plugins:\n  calculator:\n").settings.plugins) == ["calculator"]


def test_a_key_may_replace_one_that_is_merged_in():
    text = """
plugins:
  one: &one {concurrency: 1, timeout: 5s}
  two: &two {<<: *one, concurrency: 2}
  <<: {three: {<<: *two, concurrency: 3}}
"""
    plugins = configured(text).settings.plugins
    assert {name: plugin.concurrency for name, plugin in plugins.items()} == {
        "one": 1,
        "two": 2,
        "three": 3,
    }
    assert plugins["three"].timeout == timedelta(seconds=5)


def test_what_an_alias_shares_does_not_change_together():
    plugins = configured(
        "plugins: {one: &one {config: {a: 1}}, two: *one}",
        MCPSERVE_PLUGINS__ONE__CONFIG__A="2",
    ).settings.plugins
    assert (plugins["one"].config, plugins["two"].config) == ({"a": 2}, {"a": 1})


# The environment


def test_later_sources_win():
    environ = {"PORT": "2", "MCPSERVE_SERVER__PORT": "3"}
    assert configured().settings.server.port == 3000
    assert configured("server: {port: 1}").settings.server.port == 1
    assert configured("server: {port: 1}", PORT="2").settings.server.port == 2
    loaded = configured("server: {port: 1}", **environ)
    assert loaded.settings.server.port == 3
    assert loaded.sources == {"server.port": "environment MCPSERVE_SERVER__PORT"}


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("BASE_URL", "https://mcp.example.org/", "server.public_url", "https://mcp.example.org"),
        ("DATABASE_URL", "postgresql://h/x", "database.url", SecretStr("postgresql://h/x")),
        ("PORT", "9000", "server.port", 9000),
        ("CORS_ORIGINS", "https://a.org, https://b.org,", "cors.origins", "a b"),
        ("MCP_ALLOWED_ORIGINS", "https://a.org,https://b.org", "mcp.allowed_origins", "a b"),
        ("MCP_ALLOWED_HOSTS", "a.org, b.org:80", "mcp.allowed_hosts", ("a.org", "b.org:80")),
        ("ENABLE_CLEANUP_JOB", "false", "cleanup.enabled", False),
        ("ENABLE_CLEANUP_JOB", "0", "cleanup.enabled", False),
        ("ENABLE_CLEANUP_JOB", "No", "cleanup.enabled", False),
        ("ENABLE_CLEANUP_JOB", "OFF", "cleanup.enabled", False),
        ("CLEANUP_INTERVAL_MINUTES", "5", "cleanup.interval", timedelta(minutes=5)),
        ("CLEANUP_INTERVAL_MINUTES", "0.5", "cleanup.interval", timedelta(seconds=30)),
    ],
)
def test_a_short_name_sets_its_setting(variable, text, key, value):
    loaded = configured("cleanup: {enabled: true}", **{variable: text})
    section, name = key.split(".")
    expected = ("https://a.org", "https://b.org") if value == "a b" else value
    assert getattr(getattr(loaded.settings, section), name) == expected
    assert loaded.sources[key] == f"environment {variable}"


@pytest.mark.parametrize("text", ["true", "1", "yes", "on"])
def test_the_cleanup_job_is_switched_on(text):
    loaded = configured("cleanup: {enabled: false}", ENABLE_CLEANUP_JOB=text)
    assert loaded.settings.cleanup.enabled


@pytest.mark.parametrize(
    "variable", ["PORT", "DATABASE_URL", "AUTO_SEED_CLIENT_NAME", "MCPSERVE_SERVER__PORT"]
)
def test_an_empty_variable_is_not_set(variable):
    assert configured("server: {port: 1}", **{variable: ""}).settings.server.port == 1


def test_other_variables_are_left_alone():
    configured(HOME="/", SERVER__PORT="x", MCPSERVE="x", mcpserve_port="x")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("MCPSERVE_PG_BIN", "/usr/bin"),
        ("MCPSERVE_TEST_DSN", "postgresql://localhost"),
        ("MCPSERVE_SERVICE_HOST", "10.0.0.1"),
        ("MCPSERVE_SERVICE_PORT_HTTP", "3000"),
        ("MCPSERVE_PORT", "tcp://10.0.0.1:3000"),
        ("MCPSERVE_PORT_3000_TCP_ADDR", "10.0.0.1"),
        ("MCPSERVE_DB_PORT_5432_TCP", "tcp://10.0.0.2:5432"),
    ],
)
def test_variables_that_are_no_settings_are_left_alone(variable, text):
    assert configured(**{variable: text}).sources == {}


def test_a_port_that_kubernetes_did_not_set_is_unknown():
    assert problems(MCPSERVE_PORT="9000") == ["port: unknown key (environment MCPSERVE_PORT)"]


def test_a_name_of_kubernetes_in_a_plugin_is_a_setting():
    environ = {"MCPSERVE_PLUGINS__X__CONFIG__SERVICE_HOST": "a"}
    assert configured(**environ).settings.plugins["x"].config == {"service_host": "a"}


def test_a_long_name_reaches_into_a_plugin():
    loaded = configured(
        "plugins: {get_weather: {timeout: 5s, config: {base_url: x, days: 3}}}",
        MCPSERVE_PLUGINS__GET_WEATHER__CONFIG__BASE_URL="https://weather.example.org",
    )
    weather = loaded.settings.plugins["get_weather"]
    assert weather.config == {"base_url": "https://weather.example.org", "days": 3}
    assert weather.timeout == timedelta(seconds=5)


def test_a_long_name_lists_a_plugin():
    plugins = configured(MCPSERVE_PLUGINS__CALCULATOR="{}").settings.plugins
    assert list(plugins) == ["calculator"]


def test_a_long_name_below_an_empty_section():
    assert configured("server:\n", MCPSERVE_SERVER__PORT="9000").settings.server.port == 9000


def test_half_a_limit_may_come_from_the_environment():
    loaded = configured(MCPSERVE_LIMITS__LOGIN__FAILURES="3")
    assert loaded.settings.limits.login.window == timedelta(minutes=15)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9000", 9000),
        ("true", True),
        ("0.5", 0.5),
        ("null", None),
        ("text", "text"),
        ("'9000'", "9000"),
        ("[a, 'b, c']", ["a", "b, c"]),
        ("{a: [1]}", {"a": [1]}),
        ("pass: word #1", "pass: word #1"),
        ("*alias", "*alias"),
        ("- a", "- a"),
        ("https://a.org/?b={c}", "https://a.org/?b={c}"),
        ("two\nlines", "two\nlines"),
        ("%@`|>&!", "%@`|>&!"),
    ],
)
def test_a_long_name_holds_yaml_or_one_plain_value(text, value):
    assert parse_value(text) == value


def test_references_are_not_resolved_in_the_environment():
    loaded = configured("{}", DATABASE_URL="$${HOME}", MCPSERVE_MCP__NAME="${HOME}", HOME="x")
    assert loaded.settings.database.url.get_secret_value() == "$${HOME}"
    assert loaded.settings.mcp.name == "${HOME}"


# The client from the environment

CLIENT = {
    "AUTO_SEED_CLIENT_ID": "two",
    "AUTO_SEED_CLIENT_NAME": "Two",
    "AUTO_SEED_CLIENT_SECRET": "CANARY",
    "AUTO_SEED_REDIRECT_URIS": "https://a.example.org/, https://b.example.org/\nhttp://localhost/",
}
CLIENTS = """
oauth:
  clients:
    configured:
      - {id: one, redirect_uris: [https://one.example.org/]}
      - {id: two, redirect_uris: [https://two.example.org/], refresh_reuse_window: 60s}
      - {id: three, redirect_uris: [https://three.example.org/]}
"""


def test_a_client_is_added():
    loaded = configured("oauth: {auto_approve: true}", **CLIENT)
    (client,) = loaded.settings.oauth.clients.configured
    assert (client.id, client.name, client.secret.get_secret_value()) == ("two", "Two", "CANARY")
    assert client.redirect_uris == (
        "https://a.example.org/",
        "https://b.example.org/",
        "http://localhost/",
    )
    assert loaded.settings.oauth.auto_approve
    assert (
        loaded.sources["oauth.clients.configured.0.secret"] == "environment AUTO_SEED_CLIENT_SECRET"
    )


def test_a_client_replaces_the_one_with_the_same_id():
    loaded = configured(CLIENTS, **CLIENT)
    assert [client.id for client in loaded.settings.oauth.clients.configured] == [
        "one",
        "two",
        "three",
    ]
    assert loaded.settings.oauth.clients.configured[1].name == "Two"
    assert loaded.settings.oauth.clients.configured[1].refresh_reuse_window is None
    assert loaded.sources["oauth.clients.configured.0.id"] == "config.yaml"
    assert loaded.sources["oauth.clients.configured.1.id"] == "environment AUTO_SEED_CLIENT_ID"
    assert "oauth.clients.configured.1.refresh_reuse_window" not in loaded.sources


def test_a_client_without_a_secret_is_public():
    loaded = configured(**(CLIENT | {"AUTO_SEED_CLIENT_SECRET": ""}))
    assert loaded.settings.oauth.clients.configured[0].secret.get_secret_value() == ""


def test_a_client_of_which_all_is_empty_is_none():
    assert configured(**dict.fromkeys(CLIENT, "")).settings.oauth.clients.configured == ()


# References


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${NAME}", "value"),
        ("a ${NAME} b ${NAME}", "a value b value"),
        ("${NAME:-default}", "value"),
        ("${MISSING:-default}", "default"),
        ("${MISSING:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-default}", "default"),
        ("${MISSING:-a:-b$c}", "a:-b$c"),
        ("$$", "$"),
        ("$${NAME}", "${NAME}"),
        ("$$$${NAME}", "$${NAME}"),
        ("$$${NAME}", "$value"),
        ("$NAME $ 5$", "$NAME $ 5$"),
        ("$2b$12$hash", "$2b$12$hash"),
        ("${NESTED}", "${NAME} $$"),
        ("${file:secret}", "from file\n"),
        ("<${file:secret}>", "<from file\n>"),
    ],
)
def test_a_reference_is_resolved(text, value):
    Path("secret").write_text("from file\n\n", "utf-8")
    environ = {"NAME": "value", "EMPTY": "", "NESTED": "${NAME} $$"}
    document = yaml.safe_dump({"plugins": {"x": {"config": {"a": [{"b": text}]}}}})
    loaded = configured(document, **environ)
    assert loaded.settings.plugins["x"].config == {"a": [{"b": value}]}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@example("p: [x]")
@example("x\ny: z #")
@example("${NAME} $$")
def test_a_value_never_changes_the_structure(value):
    loaded = configured("database: {url: '${NAME}'}", NAME=value)
    assert loaded.settings.database.url.get_secret_value() == value
    assert loaded.settings.database.pool_size == 10


@pytest.mark.parametrize(
    ("text", "environ", "get"),
    [
        ("server: {port: '${X}'}", "9000", lambda s: s.server.port == 9000),
        ("server: {processes: '${X}'}", "3", lambda s: s.server.processes == 3),
        ("oauth: {auto_approve: '${X}'}", "true", lambda s: s.oauth.auto_approve is True),
        ("cleanup: {interval: '${X}'}", "90", lambda s: s.cleanup.interval.seconds == 90),
        ("mcp: {name: '${X}'}", "90", lambda s: s.mcp.name == "90"),
        ("plugins: {x: {config: {a: '${X}'}}}", "1", lambda s: s.plugins["x"].config == {"a": "1"}),
    ],
)
def test_a_reference_stays_text_until_its_setting_wants_something_else(text, environ, get):
    assert get(configured(text, X=environ).settings)


@pytest.mark.parametrize("value", ["0", "257", "two", "1.5", "true", "null"])
def test_what_is_no_number_of_processes_is_told_in_one_line(value):
    told = "server.processes: must be a whole number from 1 to 256, or auto"
    assert problems(f"server: {{processes: {value}}}") == [told]


def test_a_file_is_found_from_the_folder_of_the_config(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "config.yaml").write_text("database: {url: '${file:secret}'}", "utf-8")
    (folder / "secret").write_bytes(b"postgresql://x\r\n")
    loaded = load(folder / "config.yaml", {})
    assert loaded.settings.database.url.get_secret_value() == "postgresql://x"


def test_a_file_may_be_anywhere(tmp_path):
    (tmp_path / "secret").write_text("postgresql://x", "utf-8")
    loaded = configured(f"database: {{url: '${{file:{tmp_path}/secret}}'}}")
    assert loaded.settings.database.url.get_secret_value() == "postgresql://x"


def test_a_file_that_is_no_text_is_refused():
    Path("secret").write_bytes(b"\xff")
    assert problems("database: {url: '${file:secret}'}") == [
        "database.url: cannot read secret: it is not UTF-8 text"
    ]


# data_dir


@pytest.mark.parametrize("environ", [{}, {"MCPSERVE_DATA_DIR": "data"}])
def test_the_data_dir_is_in_the_folder_of_the_config(tmp_path, environ):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "config.yaml").write_text("data_dir: data", "utf-8")
    assert load(Path("etc/config.yaml"), environ).settings.data_dir == folder / "data"


def test_the_data_dir_is_here_without_a_config(tmp_path):
    assert load(environ={}).settings.data_dir == tmp_path / ".mcpserve"


def test_the_data_dir_may_be_anywhere():
    assert configured("data_dir: /srv/data").settings.data_dir == Path("/srv/data")


def test_the_data_dir_may_be_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert configured("data_dir: ~/data").settings.data_dir == tmp_path / "home/data"


def test_the_home_of_somebody_unknown_is_refused():
    (problem,) = problems("data_dir: ~nobody-has-this-name/data")
    assert problem.startswith("data_dir: the home directory")


# What is in force


def test_every_setting_is_shown_with_its_source():
    lines = effective(configured("server: {port: 9000}", BASE_URL="http://localhost")).splitlines()
    assert "server.port: 9000   # config.yaml" in lines
    assert 'server.public_url: "http://localhost"   # environment BASE_URL' in lines
    assert 'oauth.access_token_lifetime: "15m"   # default' in lines
    assert "cors.origins: []   # default" in lines
    assert [line.partition(": ")[0] for line in lines] == [
        key for key, _ in leaves(Settings().model_dump())
    ]


def test_a_client_is_shown_with_its_sources():
    lines = effective(configured(CLIENTS, **CLIENT)).splitlines()
    assert 'oauth.clients.configured.0.id: "one"   # config.yaml' in lines
    assert 'oauth.clients.configured.1.name: "Two"   # environment AUTO_SEED_CLIENT_NAME' in lines
    assert "oauth.clients.configured.1.refresh_reuse_window: null   # default" in lines


def test_no_secret_is_shown():
    text = """
database: {url: "postgresql://user:CANARY@localhost/x"}
oauth:
  clients:
    configured: [{id: one, secret: CANARY, redirect_uris: ["http://CANARY@localhost/"]}]
mcp: {instructions: "postgresql://user:CAN/ARY@localhost/x?sslkey=CANARY"}
plugins:
  search_web:
    config:
      api_key: CANARY
      accessToken: [CANARY]
      Password: {value: CANARY}
      headers: {Authorization: CANARY, Cookie: CANARY}
      clients: [{client_secret: CANARY, id: shown}, [{token: CANARY}]]
      urls: ["https://CANARY@localhost/", "https://localhost/?q=shown&api_key=CANARY#shown"]
      dsn: host=shown password=CANARY
      empty_key: ""
"""
    shown = effective(configured(text, MCPSERVE_DATA_DIR="/"))
    assert "CANARY" not in shown
    assert "ARY@" not in shown
    assert shown.count("shown") == 4
    assert "user" not in shown.partition("plugins.")[0]
    assert 'plugins.search_web.config.empty_key: ""   # config.yaml' in shown


def test_the_defaults_of_a_plugins_own_settings_are_shown_and_what_it_declares_secret_is_not():
    class Config(BaseModel):
        place: str
        days: int = 3
        nested: Nested = Nested()
        pin: SecretStr = SecretStr("CANARY")
        dsn: SecretStr | None = None

    text = "plugins: {sample: {config: {place: Oslo, dsn: CANARY}}, other: {}}"
    schemas = {"sample": config_schema("sample", Config)}
    lines = effective(configured(text), schemas).splitlines()
    own = [line for line in lines if line.startswith("plugins.sample.config.")]
    assert [line.removeprefix("plugins.sample.config.") for line in own] == [
        'place: "Oslo"   # config.yaml',
        'dsn: "**********"   # config.yaml',
        "days: 3   # default",
        'nested.format: "a"   # default',
        'pin: "**********"   # default',
    ]


def test_every_setting_takes_one_line():
    loaded = configured(MCPSERVE_MCP__INSTRUCTIONS="two\nlines \x1b[31m")
    assert 'mcp.instructions: "two\\nlines \\u001b[31m"' in effective(loaded)


# JSON Schema


class Nested(BaseModel):
    format: Literal["a", "b"] = "a"


class WeatherConfig(BaseModel):
    api_key: SecretStr
    days: int = 3
    nested: Nested = Nested()


SCHEMA = json_schema({"get_weather": config_schema("get_weather", WeatherConfig)})


def schema_accepts(text: str) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(yaml.safe_load(text))


def test_the_schema_is_one():
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "config.yaml of mcpserve"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        (ROOT / "config.yaml.example").read_text("utf-8").replace("get_weather:", "other:"),
        "",
        "server:\nplugins:\n",
        "plugins: {calculator: }",
        "server: {port: '${PORT2}'}",
        "log: {level: '${LEVEL:-info}'}",
        "limits: {token: {failures: 5}}",
        "cleanup: {interval: 90}",
        "plugins: {other: {config: {anything: [1]}}}",
        "plugins: {get_weather: {timeout: 5s, config: {api_key: x, days: 5}}}",
        "plugins: {get_weather: {config: {api_key: x, days: '${DAYS}', nested: {format: b}}}}",
    ],
)
def test_the_schema_accepts_what_the_server_accepts(text):
    assert schema_accepts(text)


@pytest.mark.parametrize(
    "text",
    [
        "server: {prot: 1}",
        "server: {port: 70000}",
        "server: {port: x}",
        "log: {level: x}",
        "plugins: {other: {timout: 5s}}",
        "plugins: {get_weather: {timout: 5s, config: {api_key: x}}}",
        "plugins: {get_weather: {config: {api_key: x, days: many}}}",
        "plugins: {get_weather: {config: {api_key: x, nested: {format: c}}}}",
        "plugins: {get_weather: {config: {}}}",
        "plugins: {get_weather: {}}",
    ],
)
def test_the_schema_refuses_what_the_server_refuses(text):
    assert not schema_accepts(text)


def test_models_of_the_same_name_do_not_meet():
    class Config(BaseModel):
        nested: Nested = Nested()

    other = type("Nested", (BaseModel,), {"__annotations__": {"count": int}})

    class OtherConfig(BaseModel):
        nested: other  # type: ignore[valid-type]

    models = {"one": Config, "two": OtherConfig}
    schemas = {name: config_schema(name, model) for name, model in models.items()}
    definitions = json_schema(schemas)["$defs"]
    assert list(definitions["one.Nested"]["properties"]) == ["format"]
    assert list(definitions["two.Nested"]["properties"]) == ["count"]


# Generated documents


def test_the_example_on_disk_is_what_the_settings_say():
    written = (ROOT / "config.yaml.example").read_text("utf-8")
    assert written == generate.example(), "run ./dev docs"


def test_the_reference_on_disk_is_what_the_settings_say():
    written = (ROOT / "docs/reference/config.md").read_text("utf-8")
    assert written == generate.reference(), "run ./dev docs"


def test_the_example_holds_the_defaults():
    settings = load(ROOT / "config.yaml.example", {}).settings
    assert list(settings.plugins) == ["calculator", "get_weather", "search_web"]
    update = {"plugins": {}, "data_dir": Settings().data_dir}
    found = settings.model_copy(update=update)
    assert dict(leaves(found.model_dump())) == dict(leaves(Settings().model_dump()))


def test_the_example_names_every_setting():
    document = yaml.safe_load((ROOT / "config.yaml.example").read_text("utf-8"))
    keys = {key for key, _ in leaves(document) if not key.startswith("plugins.")}
    assert keys == {key for key, _ in leaves(Settings().model_dump())} - {"plugins"}


def test_what_the_example_comments_out_is_valid():
    text = (ROOT / "config.yaml.example").read_text("utf-8")
    _, begin, client = text.partition("      # - #")
    lines = (begin + client).partition("\n    # Clients whose id")[0].splitlines()
    uncommented = "\n".join(line.replace("# ", "", 1) for line in lines)
    found = configured(f"oauth:\n  clients:\n    configured:\n{uncommented}")
    (found,) = found.settings.oauth.clients.configured
    assert found.id == "my-client"
    plugin = text.partition("  # my_plugin:")
    lines = "".join(plugin[1:]).splitlines()
    uncommented = "\n".join(line.replace("# ", "", 1) for line in lines)
    assert "my_plugin" in configured(f"plugins:\n{uncommented}").settings.plugins
