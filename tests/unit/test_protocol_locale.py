"""The locale of the caller, as a tool is told of it (BCP 47, RFC 5646)."""

import logging

import pytest
from exchanges import exchange, handshake, modern

from mcpserve import ToolContext, language_tags
from mcpserve.protocol import Headers
from mcpserve.protocol.locale import locale_of

NOBODY = Headers.of([])


def accepting(text):
    """Return headers that say what is preferred."""
    return Headers.of([("Accept-Language", text)])


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("en", "en"),
        ("EN-us", "en-US"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("zh-YUE-hk", "zh-yue-HK"),
        ("de-ch-1901", "de-CH-1901"),
        ("sl-IT-NEDIS", "sl-IT-nedis"),
        ("de-AT-U-CO-PHONEBK", "de-AT-u-co-phonebk"),
        ("en-CA-x-CA", "en-CA-x-ca"),
        ("az-Latn-x-LATN", "az-Latn-x-latn"),
        ("abcdefgh-" + "abcdefgh-" * 2 + "abcdefgh", "abcdefgh-" * 3 + "abcdefgh"),
    ],
)
def test_a_well_formed_tag_is_told_in_its_usual_case(told, known):
    assert locale_of({"openai/locale": told}, NOBODY) == known


@pytest.mark.parametrize(
    "told",
    [
        *("", "e", "en-", "-en", "en--US", "en_US", "en US", "*", "en-US\n", "\nen", "en;q=1"),
        *("i-klingon", "x-mine", "en-u", "en-USA1-GB", "en-GB-Latn", "de-1", "ſv-SE", "en-\u212aR"),
        *("abcdefgh-" * 3 + "abcdefghi", "<b>en</b>", "en-US\x00", "\ud800", 3, True, None, ["en"]),
        {"en": 1},
        "en-" + "a" * 9,
        "a" * 4_000_000,
        "en" + "-x" * 2_000_000,
    ],
)
def test_anything_else_is_not_told(told):
    assert locale_of({"openai/locale": told}, NOBODY) is None
    assert locale_of({"openai/locale": told}, accepting("de-DE")) == "de-DE"


@pytest.mark.parametrize(
    ("accepted", "known"),
    [
        ("de-DE", "de-DE"),
        ("fr-ch, fr;q=0.9, en;q=0.8, *;q=0.5", "fr-CH"),
        ("en;q=0.3 , nl-be; q=0.31,de;q=0.300", "nl-BE"),
        ("en, de", "en"),
        ("da;q=0, nb;q=0.001", "nb"),
        ("nb;q=1.5, en;q=0.1", "en"),
        *((nothing, None) for nothing in ("", "*", "en;q=0", "en;q=0.000", ",", "en;level=1", "é")),
        ("*, de", "de"),
        ("*," * 30 + "de", None),
        ("," * 2_000_000, None),
        ("en;" + " " * 2_000_000, None),
        ("a-" * 1_000_000, None),
    ],
)
def test_without_it_the_most_preferred_language_of_the_header_is_told(accepted, known):
    assert locale_of({}, accepting(accepted)) == known
    assert locale_of(None, accepting(accepted)) == known


def test_what_the_message_says_wins_over_the_header():
    assert locale_of({"openai/locale": "en"}, accepting("de-DE")) == "en"


def test_only_a_region_is_in_upper_case():
    tag = language_tags.normal("ZH-HANT-TW-U-CA-ROC-X-US")
    assert [part for part in tag.split("-") if part.isupper()] == ["TW"]


@pytest.mark.parametrize("call", [modern, handshake])
async def test_a_tool_is_told_the_locale_of_its_call(call, caplog):
    caplog.set_level(logging.DEBUG)
    told = []

    async def go(ctx: ToolContext) -> str:
        """Go on."""
        told.append(ctx.locale)
        return ""

    for locale in ("pt-br", "no such\nthing"):
        params = {"name": "go", "_meta": {"openai/locale": locale}}
        answer = await call(exchange(go), "tools/call", params)
        assert answer.status == 200
    await call(exchange(go), "tools/call", {"name": "go"})
    assert told == ["pt-BR", None, None]
    assert "no such" not in caplog.text
