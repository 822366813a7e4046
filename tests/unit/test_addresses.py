"""Where a fetch may connect to: the table of addresses, and every way to write one."""

import socket
from ipaddress import ip_address

import pytest
from tls import Authority, Names

from mcpserve.addresses import is_public
from mcpserve.errors import FetchError
from mcpserve.fetch import Fetcher, GuardedResolver


@pytest.fixture(scope="module")
def get_json(tmp_path_factory):
    """Fetch with a resolver of the test's own; trusting one authority only is quick to set up."""
    authority = Authority(tmp_path_factory.mktemp("tls"))

    async def get_json(url, *, names):
        await Fetcher(resolver=names, ca_certs=authority.ca_certs).get_json(url)

    return get_json


def words(text):
    return text.split()


SPECIAL = words("""
    0.0.0.0 0.0.0.1 0.255.255.255
    10.0.0.0 10.1.2.3 10.255.255.255
    100.64.0.0 100.100.100.200 100.127.255.255
    127.0.0.0 127.0.0.1 127.1.2.3 127.255.255.255
    168.63.129.16
    169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255
    172.16.0.0 172.31.255.255
    192.0.0.0 192.0.0.8 192.0.0.9 192.0.0.170 192.0.0.192 192.0.0.255
    192.0.2.0 192.0.2.255
    192.31.196.1 192.52.193.1 192.175.48.1
    192.88.99.0 192.88.99.1 192.88.99.2 192.88.99.255
    192.168.0.0 192.168.1.1 192.168.255.255
    198.18.0.0 198.19.255.255
    198.51.100.0 198.51.100.255
    203.0.113.0 203.0.113.255
    224.0.0.0 224.0.0.1 233.252.0.1 239.255.255.255
    240.0.0.0 254.255.255.255 255.255.255.255

    :: ::1 ::2
    ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:8.8.8.8
    64:ff9b:: 64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b:1:: 64:ff9b:1::a00:1
    100:: 100::1 100:0:0:1::1 200::1 1fff:ffff::
    2001:: 2001:0:7f00:1::1 2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:5::1
    2001:10::1 2001:20::1 2001:30::1 2001:1ff:ffff::1
    2001:db8:: 2001:db8::1 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
    2002:: 2002:7f00:1::1 2002:808:808::1 2002:a9fe:a9fe::
    2620:4f:8000::1
    3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff
    4000:: 5f00:: 5f00::1 8000::1
    fc00::1 fd00:ec2::254 fd20:ce::254 fdff::1
    fe80::1 fe80::1%eth0 fe80::a9fe:a9fe febf::1
    fec0::1 feff::1
    ff00::1 ff02::1 ff0e::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    2606:4700::1%eth0
""")

PUBLIC = words("""
    1.0.0.0 1.1.1.1 8.8.8.8
    9.255.255.255 11.0.0.0
    100.63.255.255 100.128.0.0
    126.255.255.255 128.0.0.0
    168.63.129.15 168.63.129.17
    169.253.255.255 169.255.0.0
    172.15.255.255 172.32.0.0
    191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0
    192.88.98.255 192.88.100.0
    192.167.255.255 192.169.0.0
    198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0
    203.0.112.255 203.0.114.0
    223.255.255.255
    2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1
    2003::1 2400:cb00::1 2606:4700:4700::1111 2620:4f:7fff::1 2620:4f:8001::1
    2a00:1450::1 2c0f::1 3ffe:ffff::1 3fff:1000::1
""")


@pytest.mark.proves("CM-04", "CM-10")
@pytest.mark.parametrize("address", SPECIAL)
def test_a_special_address_is_not_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address):
    assert is_public(ip_address(address))


def in_url(address):
    return f"[{address}]" if ":" in address else address


IN_URLS = [in_url(address) for address in SPECIAL]

REFUSED_SPELLINGS = [
    # Numbers that inet_aton, a browser or getaddrinfo reads as an address
    *words("2130706433 017700000001 0x7f000001 0x7F.1 0x7f.0.0.1 0177.0.0.1 127.1 127.0.1 0 0x0 1"),
    *words("127.0.0.01 127.0.0.0x1 0127.0.0.1 00000127.0.0.1 127.0.0.1. 127.0.0.1.. 127.0.0.1.0x"),
    *words("0xa9fea9fe 2852039166 169.254.43518 0251.0376.0251.0376 1.2.3.4.5 256.1.1.1"),
    *words("4294967296 example.0x7f example.1 example.1e1"),
    # Literals in brackets that are none, or have a zone
    *words("[127.0.0.1] [::ffff:127.0.0.1 ::1 [::1%lo] [::1%25lo] [fe80::1%25eth0] [] [:] [:::1]"),
    *words("[::1]] [[::1]] [v1.::1] [::1].example [0:0:0:0:0:0:0:0:1] [1.2.3.4:5] [12345::]"),
    # What becomes another host when it is decoded, mapped or cut
    *words("localhost. example.com. .localhost a..example %31%32%37.0.0.1 127%2e0.0.1"),
    *words("１２７.0.0.1 127。0。0。1 ①②⑦.0.0.1 ⓛocalhost bücher.example exam\u00adple.com"),
    *("127.0.0.1\t", "127.0.0.1 ", " 127.0.0.1", "127.0.0.1\n", "a\0.example", "a\r\n.example"),
    *words("a_b.example -a.example a-.example *.example a!b.example a,b.example a;b . -"),
    *("", "a" * 64 + ".example", "a." * 126 + "ab"),
    # What two parsers take apart differently
    *words("good.example@127.0.0.1 good.example:443@127.0.0.1 127.0.0.1@good.example @a.example"),
    *words(r"good.example\@127.0.0.1 127.0.0.1\.good.example good.example:443:80 good.example:"),
    *words("good.example:0 good.example:65536 good.example:99999 good.example:+443"),
    *words("good.example:４４３ good.example:443.0 good.example:0x1bb good.example:-1"),
]


@pytest.mark.proves("CM-04", "CM-10")
@pytest.mark.parametrize("host", IN_URLS)
async def test_a_special_address_in_a_url_is_refused(get_json, host):
    names = Names(["8.8.8.8"])
    with pytest.raises(FetchError, match="odd characters" if "%" in host else "not allowed"):
        await get_json(f"https://{host}/", names=names)
    assert names.asked == []


@pytest.mark.proves("CM-04", "CM-10")
@pytest.mark.parametrize("host", REFUSED_SPELLINGS)
async def test_an_odd_spelling_of_a_host_is_refused_before_anybody_is_asked(get_json, host):
    names = Names(["127.0.0.1"])
    with pytest.raises(FetchError, match=r"neither a name nor an address|odd characters|such port"):
        await get_json(f"https://{host}/", names=names)
    assert names.asked == []


@pytest.mark.proves("CM-04", "CM-10")
@pytest.mark.parametrize("address", SPECIAL)
async def test_a_name_with_a_special_address_is_refused(get_json, address):
    names = Names([address])
    with pytest.raises(FetchError, match=r"^client\.example has the address .* not allowed$"):
        await get_json("https://client.example/", names=names)
    assert names.asked == ["client.example"]


@pytest.mark.proves("CM-10")
@pytest.mark.parametrize("bad", ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254"])
@pytest.mark.parametrize("good", ["8.8.8.8", "2606:4700:4700::1111"])
@pytest.mark.parametrize("first", [True, False], ids=["bad first", "good first"])
async def test_one_special_address_spoils_the_others(get_json, bad, good, first):
    names = Names([bad, good] if first else [good, good, bad])
    with pytest.raises(FetchError, match="not allowed"):
        await get_json("https://client.example/", names=names)


@pytest.mark.proves("CM-10")
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "xn--bcher-kva.example", "intranet"])
async def test_a_name_of_any_kind_goes_through_the_guard(get_json, host):
    names = Names(["127.0.0.1"])
    with pytest.raises(FetchError, match="not allowed"):
        await get_json(f"https://{host}/", names=names)
    assert names.asked == [host]


async def test_the_resolver_of_the_system_is_guarded():
    fetcher = Fetcher()
    with pytest.raises(FetchError, match="not allowed"):
        await fetcher.get_json("https://localhost/")
    fetcher.close()


@pytest.mark.proves("CM-10")
@pytest.mark.parametrize("answer", [[], ["localhost"], ["127.1"], ["2130706433"], [""], ["/run/x"]])
async def test_a_resolver_that_answers_no_addresses_is_refused(get_json, answer):
    with pytest.raises(FetchError, match=r"no address|not appear to be"):
        await get_json("https://client.example/", names=Names(answer))


@pytest.mark.parametrize("address", PUBLIC)
async def test_the_guard_lets_public_addresses_through(address):
    guard = GuardedResolver(resolver=Names(["8.8.8.8", address], port=8443), is_allowed=is_public)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert await guard.resolve("client.example", 8443) == [
        (socket.AF_INET, ("8.8.8.8", 8443)),
        (family, (address, 8443)),
    ]


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
async def test_the_guard_takes_an_address_for_itself(address):
    names = Names(["127.0.0.1"])
    guard = GuardedResolver(resolver=names, is_allowed=is_public)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert await guard.resolve(address, 443) == [(family, (address, 443))]
    assert names.asked == []


@pytest.mark.proves("CM-01")
@pytest.mark.parametrize(
    "url",
    [
        *("http://client.example/", "HTTP://client.example/", "ftp://client.example/"),
        *("file:///etc/passwd", "//client.example/", "client.example/", "", "https:", "https://"),
        *("https:/client.example/", "https:///client.example/", "https:client.example/"),
        *("https:\\\\client.example/", " https://client.example/", "https://client.example/ "),
        *("https://client.example/\n", "https://client.example/a b", "https://client.example/\x7f"),
        *(
            "https://user@client.example/",
            "https://user:secret@client.example/",
            "https://:@a.example",
        ),
        *("https://client.example/#", "https://client.example/a#b", "https://client.example#b"),
        *("https://client.example\\evil/", "https://client.example/\\", "https://client.example/é"),
        *(
            "https://client.example/\r\nHost: x",
            'https://client.example/"',
            "https://client.example/<",
        ),
        *("javascript:alert(1)", "data:,", "wss://client.example/", "https+unix://client.example/"),
    ],
)
async def test_what_is_not_plainly_an_https_url_is_refused(get_json, url):
    names = Names(["127.0.0.1"])
    with pytest.raises(FetchError, match="odd characters"):
        await get_json(url, names=names)
    assert names.asked == []
