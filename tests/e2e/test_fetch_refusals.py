"""What is not a JSON document of the right server is refused."""

import gzip
import ssl
from functools import partial
from ipaddress import ip_address

import pytest
from tls import Authority, Names, saying, wire

from mcpserve.errors import FetchError
from mcpserve.fetch import Fetcher

URL = "https://client.example/oauth.json"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LIMIT = 5120
NO_ANSWER = r"^not an HTTP answer of at most 5120 bytes$|^no answer: "


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def context(authority):
    return authority.context("client.example")


@pytest.fixture
def fetcher(authority):
    """A fetcher that may connect to loopback only and trusts one authority only."""
    return partial(Fetcher, is_allowed=ip_address("127.0.0.1").__eq__, ca_certs=authority.ca_certs)


async def refusal(client, url=URL):
    with pytest.raises(FetchError) as caught:
        await client.get_json(url, max_bytes=LIMIT)
    return str(caught.value)


def sized(body, *, status=b"200 OK", content_type=b"application/json", length=None):
    length = len(body) if length is None else length
    return (
        b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
        % (status, content_type, length)
        + body
    )


@pytest.mark.proves("CM-03", "CM-10")
@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize(
    "target",
    [
        "https://client.example:{trap}/",
        "https://127.0.0.1:{trap}/",
        "http://client.example:{plain}/",
        "http://127.0.0.1:{plain}/",
        "//client.example:{trap}/",
        "/again",
        URL,
    ],
)
async def test_a_redirect_is_not_followed(fetcher, authority, status, target):
    certificate = authority.context("client.example", ip_address("127.0.0.1"))
    document = saying(sized(b"{}"))
    async with wire(document, certificate) as trap, wire(document) as plain:
        location = target.format(trap=trap.port, plain=plain.port)
        answer = f"HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        async with wire(saying(answer.encode()), certificate) as server:
            names = Names(["127.0.0.1"], port=server.port)
            assert await refusal(fetcher(resolver=names)) == f"status {status}"
    assert (names.asked, len(server.requests)) == (["client.example"], 1)
    assert (trap.connections, plain.connections) == (0, 0)


@pytest.mark.proves("CM-03")
@pytest.mark.parametrize(
    "status", [201, 202, 203, 206, 304, 400, 401, 404, 410, 429, 500, 503, 599, 999]
)
async def test_only_status_200_is_taken(fetcher, context, status):
    answer = sized(b"" if status == 304 else b"{}", status=b"%d X" % status)
    async with wire(saying(answer), context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert await refusal(client) == f"status {status}"


@pytest.mark.proves("CM-03")
@pytest.mark.parametrize(
    "content_type",
    [
        *(b"text/html", b"text/plain", b"text/json", b"application/octet-stream", b"", b"json"),
        *(b"application/jsonp", b"application/javascript", b"application/x-json", b"*/*"),
        *(b"application/json-seq", b"application/+json", b"+json", b"text/html; +json"),
        *(b"text/html, application/json", b"application/json, text/html", b"text/html;/a+json"),
        *(b"text/html application/a+json", b"application/a+json+xml", b"application/json/x"),
    ],
)
async def test_another_media_type_is_refused(fetcher, context, content_type):
    async with wire(saying(sized(b"{}", content_type=content_type)), context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert (await refusal(client)).startswith("not JSON: ")


@pytest.mark.proves("CM-03")
async def test_an_answer_without_a_media_type_is_refused(fetcher, context):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with wire(saying(answer), context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert await refusal(client) == "not JSON: ''"


BOMB = gzip.compress(b"0" * 5_000_000)[:LIMIT]


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip", b"br", b"deflate", b"GZIP", b"identity"])
async def test_a_content_encoding_is_refused(fetcher, context, encoding):
    answer = HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(BOMB))
    async with wire(saying(answer + BOMB), context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert (await refusal(client)).startswith("encoded: ")


@pytest.mark.parametrize(
    "answer",
    [
        sized(b""),
        HEAD + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["by length", "by end", "chunked"],
)
async def test_an_empty_document_is_refused(fetcher, context, answer):
    async with wire(saying(answer), context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert await refusal(client) == "empty"


BAD_HTTP = {
    "nothing": b"",
    "garbage": b"SSH-2.0-OpenSSH\r\n\r\n",
    "HTTP/0.9": b"{}",
    "HTTP/2": b"HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "half a head": HEAD,
    "no body": sized(b"", length=2),
    "a body that ends too early": sized(b"{}", length=LIMIT),
    "a negative length": sized(b"{}", length=-1),
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a length that is none": HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "a length of thousands of digits": HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
    "chunks and a length": HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks that end too early": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "a chunk without a size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "compressed in transfer": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "204 with a body": sized(b"{}", status=b"204 No Content"),
    "a header that is none": b"HTTP/1.1 200 OK\r\nContent-Type application/json\r\n\r\n{}",
    "informational answers for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + sized(b"{}"),
}


@pytest.mark.parametrize("answer", BAD_HTTP.values(), ids=BAD_HTTP)
async def test_what_is_not_http_is_refused(fetcher, context, answer):
    async with wire(saying(answer), context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        with pytest.raises(FetchError, match=NO_ANSWER):
            await client.get_json(URL, max_bytes=LIMIT)


async def test_a_name_that_does_not_exist_is_refused(fetcher):
    class Unknown(Names):
        async def resolve(self, *_):
            raise OSError(-2, "Name or service not known")

    assert "not known" in await refusal(fetcher(resolver=Unknown()))


async def test_a_closed_port_is_refused(fetcher, context):
    async with wire(saying(), context) as server:
        pass
    client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
    assert "refused" in await refusal(client)


def of_another_authority(folder):
    """A context whose certificate was signed by an authority that nobody trusts."""
    folder.mkdir()
    return Authority(folder).context("client.example")


@pytest.mark.proves("CM-10")
@pytest.mark.parametrize("kind", ["another name", "its address", "unknown signer", "expired"])
async def test_the_certificate_is_verified_for_the_name(fetcher, authority, tmp_path, kind):
    context = {
        "another name": lambda: authority.context("other.example"),
        "its address": lambda: authority.context(ip_address("127.0.0.1")),
        "unknown signer": lambda: of_another_authority(tmp_path / "other"),
        "expired": lambda: authority.context("client.example", expired=True),
    }[kind]()
    async with wire(saying(sized(b"{}")), context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert "CERTIFICATE_VERIFY_FAILED" in await refusal(client)
    assert server.requests == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_an_old_tls_is_refused(fetcher, authority):
    context = authority.context("client.example")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or the server itself would refuse
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with wire(saying(sized(b"{}")), context) as server:
        client = fetcher(resolver=Names(["127.0.0.1"], port=server.port))
        assert (await refusal(client)).startswith("no answer: ")
    assert server.requests == []
