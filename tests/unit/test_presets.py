"""The file of presets, and what it lets in."""

import re

import pytest

from mcpserve.oauth import presets, redirect_uris
from mcpserve.oauth.presets import Presets
from mcpserve.setting_types import PRESETS

KNOWN = {preset.name: preset for preset in presets.load()}
ALL = Presets.of(PRESETS)


def test_the_settings_and_the_file_know_the_same_presets() -> None:
    assert set(KNOWN) == set(PRESETS)
    assert {preset.name for preset in ALL.enabled} == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_every_redirect_uri_of_a_preset_may_be_registered(name: str) -> None:
    for pattern in KNOWN[name].redirect_uris:
        uri = pattern.replace("{id}", "Ab1_-")
        assert redirect_uris.problem(uri) is None, uri
        assert KNOWN[name].has_redirect_uri(uri)


@pytest.mark.parametrize("name", PRESETS)
def test_every_document_of_a_preset_is_https_and_its_own(name: str) -> None:
    preset = KNOWN[name]
    for pattern in preset.document_urls:
        url = pattern.replace("{id}", "Ab1_-")
        assert re.fullmatch(r"https://[a-z0-9.-]+/[A-Za-z0-9._/-]+", url)
        assert ALL.of_document(url) == preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_pinned_copy_is_of_a_document_of_the_preset(name: str) -> None:
    preset = KNOWN[name]
    for url, document in preset.documents.items():
        assert url in preset.document_urls
        assert document["client_id"] == url
        assert document["client_name"]
        assert all(map(preset.has_redirect_uri, document["redirect_uris"]))
        assert "authorization_code" in document["grant_types"]


def test_the_wildcard_is_one_segment_of_plain_characters() -> None:
    chatgpt = KNOWN["chatgpt"]
    begin = "https://chatgpt.com/connector/oauth/"
    assert chatgpt.has_redirect_uri(begin + "AZaz09_-")
    assert chatgpt.has_redirect_uri(begin + "a" * 64)
    for bad in ("", "a" * 65, "a/b", "a.b", "a?b", "a%2fb", "ä", "a\n", "{id}"):
        assert not chatgpt.has_redirect_uri(begin + bad), bad
    assert not chatgpt.has_redirect_uri("https://chatgpt.com.evil.example/connector/oauth/a")
    assert not chatgpt.has_redirect_uri("https://chatgptxcom/connector/oauth/a")


def test_the_port_of_a_loopback_pattern_varies() -> None:
    codex = KNOWN["codex"]
    assert codex.has_redirect_uri("http://127.0.0.1:4711/callback")
    assert codex.has_redirect_uri("http://127.0.0.1:4711/callback/abc")
    assert not codex.has_redirect_uri("http://127.0.0.1:4711/callback/a/b")
    assert not codex.has_redirect_uri("http://127.0.0.1:4711@evil.example/callback/abc")
    assert not codex.has_redirect_uri("https://127.0.0.1:4711/callback/abc")


def test_one_preset_must_have_all_redirect_uris() -> None:
    cursor = KNOWN["cursor"]
    assert ALL.of_redirect_uris(cursor.redirect_uris) == cursor
    chatgpt = "https://chatgpt.com/connector_platform_oauth_redirect"
    assert ALL.of_redirect_uris([chatgpt]) == KNOWN["chatgpt"]
    assert ALL.of_redirect_uris([chatgpt, cursor.redirect_uris[0]]) is None
    assert ALL.of_redirect_uris([chatgpt, "https://evil.example/"]) is None
    assert ALL.of_redirect_uris([]) is None


def test_a_preset_that_is_not_enabled_lets_nothing_in() -> None:
    some = Presets.of(["chatgpt"])
    assert some.of_redirect_uris(KNOWN["cursor"].redirect_uris) is None
    assert some.of_document("https://vscode.dev/oauth/client-metadata.json") is None
    assert some.jwks_uris == {"https://chatgpt.com/oauth/jwks.json"}
    assert Presets.of([]).jwks_uris == frozenset()


def test_a_pattern_of_one_preset_does_not_take_the_document_of_another() -> None:
    codex = "https://chatgpt.com/oauth/codex/client.json"
    assert ALL.of_document(codex) == KNOWN["codex"]
    assert Presets.of(["chatgpt"]).of_document(codex) is None
    assert ALL.of_document("https://chatgpt.com/oauth/abc/client.json") == KNOWN["chatgpt"]


def test_a_private_scheme_is_accepted_as_an_enabled_preset_has_it_only() -> None:
    cursor = "cursor://anysphere.cursor-mcp/oauth/callback"
    assert ALL.problem(cursor) is None
    for uri in (cursor + "/x", "cursor://other", "com.example.app:/callback"):
        assert "oauth.clients.presets" in str(ALL.problem(uri))
    assert "oauth.clients.presets" in str(Presets.of(["vscode"]).problem(cursor))


def test_https_and_loopback_need_no_preset() -> None:
    none = Presets.of([])
    assert none.problem("https://client.example/callback") is None
    assert none.problem("http://127.0.0.1:1234/callback") is None
    assert none.problem("http://client.example/callback")
    assert none.problem("javascript:alert(1)")


def test_hosted_clients_that_race_have_a_reuse_window() -> None:
    windows = {name: preset.refresh_reuse_window for name, preset in KNOWN.items()}
    patient = {name for name, window in windows.items() if window}
    assert patient == {"chatgpt", "claude", "claude-code", "codex"}
    assert {windows[name].total_seconds() for name in patient} == {60}
