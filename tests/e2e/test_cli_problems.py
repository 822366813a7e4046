"""Whatever goes wrong on the command line is told in words, with the right exit code."""

import threading
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer

import postgres
import pytest
from e2e.process import add_user, configure, invoke
from serving import CALLBACK, PASSWORD, USER

WRONG = 1
"""Exit code: it could not be done."""
MISUSED = 2
"""Exit code: the configuration or the command line is wrong."""

ADD = ("client", "add", "--id", "web", "--redirect-uri", CALLBACK)
NO_GRANT = "0b6f3c8e-6a51-4f4e-9d7c-2f1f6f3f8a11"

PROBLEMS = {
    "no such command": (("frobnicate",), MISUSED, "No such command"),
    "too many words": (("serve", "now"), MISUSED, "unexpected extra argument"),
    "no such file": (("check", "-c", "missing.yaml"), MISUSED, "does not exist"),
    "not UTF-8": (("user", "password", "al\udcff"), MISUSED, "not UTF-8"),
    "user without a name": (("user", "add", ""), WRONG, "1 to 100 characters"),
    "user with spaces": (("user", "add", "a b"), WRONG, "no spaces"),
    "no such user": (("user", "disable", "bob"), WRONG, "no user 'bob'"),
    "user to enable": (("user", "enable", "bob"), WRONG, "no user 'bob'"),
    "client without a URI": (("client", "add", "--id", "web"), MISUSED, "--redirect-uri"),
    "client with a bad URI": ((*ADD, "--redirect-uri", "http://a.example/"), MISUSED, "https"),
    "client without an id": ((*ADD, "--id", ""), MISUSED, "id: "),
    "client id with a space": ((*ADD, "--id", "a b"), MISUSED, "id: "),
    "client with a long name": ((*ADD, "--name", "x" * 101), MISUSED, "name: "),
    "client with a bad window": ((*ADD, "--reuse-window", "x"), MISUSED, "a duration such as"),
    "client with a long window": (
        (*ADD, "--reuse-window", "2h"),
        MISUSED,
        "--reuse-window: must be 1h at most",
    ),
    "public client's secret": ((*ADD, "--public", "--secret-stdin"), MISUSED, "use one of"),
    "no such client": (("client", "show", "nope"), WRONG, "no client 'nope'"),
    "client to disable": (("client", "disable", "nope"), WRONG, "no client 'nope'"),
    "which grant": (("grant", "revoke"), MISUSED, "name one grant"),
    "two kinds of grants": (("grant", "revoke", "--all", "--user", "x"), MISUSED, "name one"),
    "grant that is no id": (("grant", "revoke", "nope"), WRONG, "'nope' is no grant id"),
    "grant of few digits": (("grant", "revoke", "0b6"), WRONG, "4 digits of the id are needed"),
    "no such grant": (("grant", "revoke", NO_GRANT), WRONG, "nothing is recorded of a grant"),
    "nobody's grants": (("grant", "revoke", "--user", "bob"), WRONG, "no user 'bob'"),
    "no client's grants": (("grant", "revoke", "--client", "x"), WRONG, "no client 'x'"),
    "no such key": (("key", "retire", "3fa94c0d7be1"), WRONG, "no key '3fa94c0d7be1' to retire"),
    "arguments not JSON": (("call", "calculator", "{"), MISUSED, "not JSON"),
    "arguments too deep": (("call", "calculator", "[" * 99_999), MISUSED, "not JSON"),
    "arguments no object": (("call", "calculator", "[]"), MISUSED, "must be a JSON object"),
    "argument missing": (("call", "calculator"), WRONG, "expression"),
    "no such tool": (("call", "nope"), WRONG, "enabled tools: calculator"),
}

INPUT = {
    "nothing": (b"", "no password came in"),
    "too short": (b"short\n", "at least 12 characters"),
    "too long": ("é".encode() * 37, "at most 72 bytes"),
    "not UTF-8": (b"\xff" * 12, "not UTF-8"),
}


@pytest.fixture(scope="module")
def unused(cluster, template):
    """DSN of a database in which nobody ever writes."""
    with postgres.new_database(cluster, template=template) as dsn:
        yield dsn


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_cannot_be_done_is_told_in_words(unused, tmp_path, case):
    words, status, text = PROBLEMS[case]
    result = invoke(configure(tmp_path, dsn=unused), *words)
    assert (result.exit_code, result.stdout) == (status, "")
    assert text in result.stderr


@pytest.mark.proves("LG-05")
@pytest.mark.parametrize("case", INPUT)
@pytest.mark.parametrize("words", [("user", "add", "bob"), ("user", "password", USER)])
def test_a_password_that_cannot_be_set_is_told_in_words(dsn, tmp_path, words, case):
    stdin, text = INPUT[case]
    config = configure(tmp_path, dsn=dsn)
    add_user(config)
    result = invoke(config, *words, "--password-stdin", stdin=stdin)
    assert (result.exit_code, result.stdout) == (WRONG, "")
    assert text in result.stderr


def test_a_name_that_is_taken_is_told(dsn, tmp_path):
    config = configure(tmp_path, dsn=dsn)
    add_user(config)
    result = invoke(config, "user", "add", USER.upper(), "--password-stdin", stdin=PASSWORD)
    assert (result.exit_code, "already" in result.stderr) == (WRONG, True)


CONFIGURATIONS = {
    "not YAML": ("server: [", "config.yaml:1:10: "),
    "unknown key": ("server: {prot: 1}", "server.prot: unknown key; did you mean 'port'?"),
    "no such plugin": ("plugins: {nope: {}}", "plugins.nope: "),
    "plugin's own": (
        "plugins: {get_weather: {config: {timeout: 0}}}",
        "plugins.get_weather: config.timeout: ",
    ),
    "client's URI": (
        "oauth: {clients: {configured: [{id: a, redirect_uris: ['http://a.example/']}]}}",
        "oauth.clients.configured.0.redirect_uris: ",
    ),
    "client's scope": (
        "oauth: {clients: {configured: [{id: a, redirect_uris: ['https://a.example/'],"
        " scopes: [offline_access, foo]}]}}",
        "oauth.clients.configured.0.scopes: there is no scope 'foo', see oauth.scopes",
    ),
    "a circle of scopes": (
        "oauth: {scopes: {a: A, b: B}, scope_implies: {a: [b], b: [a]}}",
        "oauth.scope_implies.a: it includes itself",
    ),
    "an unknown scope": (
        "oauth: {scopes: {a: A}, scope_implies: {a: [b]}}",
        "oauth.scope_implies.a: 'b' is not known here",
    ),
    "an alias that is taken": (
        "plugins: {calculator: {tools: {calculator: {aliases: [calculator]}}}}",
        "plugins.calculator: tools.calculator.aliases: 'calculator' is already",
    ),
    "not a database": ("database: {url: 'mysql://bob:hunter2@a/b'}", "database.url: expected"),
}


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_wrong_configuration_is_told_with_its_place(unused, tmp_path, case, command):
    text, told = CONFIGURATIONS[case]
    path = tmp_path / "config.yaml"
    # One, as this one would become their supervisor.
    path.write_text(text if "server:" in text else f"{text}\nserver: {{processes: 1}}\n")
    env = {} if "database" in text else {"DATABASE_URL": unused}
    result = invoke(path, command, **env)
    assert (result.exit_code, result.stdout) == (MISUSED, "")
    assert told in result.stderr
    assert "hunter2" not in result.stderr


def test_check_tells_every_problem_at_once(tmp_path):
    clients = [{"id": "a", "redirect_uris": ["http://a.example/"]}]
    config = configure(tmp_path, oauth={"clients": {"configured": clients}}, plugins={"nope": {}})
    result = invoke(config, "check")
    assert result.exit_code == MISUSED
    assert "error: oauth.clients.configured.0" in result.stderr
    assert "error: plugins.nope" in result.stderr


@pytest.mark.parametrize("command", ["serve", "check", "db check", "user list", "cleanup"])
def test_a_database_that_does_not_answer_is_told_without_its_password(tmp_path, command):
    config = configure(tmp_path, dsn="postgresql://bob:hunter2@127.0.0.1:1/data")
    result = invoke(config, *command.split())
    assert (result.exit_code, result.stdout) == (WRONG, "")
    assert "cannot connect to database 'data' at 127.0.0.1:1: " in result.stderr
    assert "hunter2" not in result.stderr


ENCRYPTION = {80877103, 80877104}
"""What clients ask for first."""


class Refusal(StreamRequestHandler):
    """PostgreSQL up to the password, which is always wrong."""

    def handle(self):
        while int.from_bytes(self.message()[:4], "big") in ENCRYPTION:
            self.wfile.write(b"N")
        self.send(b"R", (3).to_bytes(4, "big"))
        self.rfile.read(1)
        self.message()
        text = 'Mpassword authentication failed for user "bob"'
        self.send(b"E", b"SFATAL\0C28P01\0" + text.encode() + b"\0\0")

    def message(self):
        return self.rfile.read(int.from_bytes(self.rfile.read(4), "big") - 4)

    def send(self, kind, body):
        self.wfile.write(kind + (len(body) + 4).to_bytes(4, "big") + body)


@contextmanager
def refusing_postgres():
    with ThreadingTCPServer(("127.0.0.1", 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("command", ["serve", "db check"])
def test_a_wrong_password_of_the_database_is_told_and_not_shown(tmp_path, command):
    with refusing_postgres() as port:
        url = f"postgresql://bob:hunter2@127.0.0.1:{port}/data?sslmode=disable"
        result = invoke(configure(tmp_path, dsn=url), *command.split())
    assert result.exit_code == WRONG
    assert "password authentication failed" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("command", ["serve", "check", "user list", "grant list", "cleanup"])
def test_a_database_that_was_never_migrated_is_told_with_the_command(empty_dsn, tmp_path, command):
    result = invoke(configure(tmp_path, dsn=empty_dsn), *command.split())
    assert (result.exit_code, result.stdout) == (WRONG, "")
    assert "0001_initial.sql" in result.stderr
    assert "run `mcpserve db init`" in result.stderr
