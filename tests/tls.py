"""HTTPS on loopback: a certificate authority of a test's own, servers, and a resolver."""

import socket
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import Resolver, bind_sockets
from tornado.tcpserver import TCPServer

DAY = timedelta(days=1)


class Authority:
    """Signs certificates of servers; ``ca_certs`` is the file by which a client trusts it."""

    def __init__(self, folder):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority of a test")
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        certificate = (
            _builder(self._name, self._key, issuer=self._name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_certs = str(folder / "ca.pem")
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, *names, expired=False):
        """Return what a server needs to show a certificate for DNS names or IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        end = datetime.now(UTC) + (-DAY if expired else DAY)
        certificate = (
            _builder(_name(str(names[0])), key, issuer=self._name, end=end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(_alternative_names(names), critical=False)
            .add_extension(self._issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / "server.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject, key, *, issuer, end=None):
    end = end or datetime.now(UTC) + DAY
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 3 * DAY)
        .not_valid_after(end)
    )


def _usage(**used):
    unused = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**(unused | used))


def _alternative_names(names):
    return x509.SubjectAlternativeName(
        [x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name) for name in names]
    )


class Names(Resolver):
    """A resolver that gives its answers in turn, each a list of addresses; the last one stays."""

    def initialize(self, *answers, port=443):
        self._answers = list(answers)
        self._port = port
        self.asked = []

    async def resolve(self, host, port, family=socket.AF_UNSPEC):
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, (a, self._port)) for a in answer]


class Wire(TCPServer):
    """Reads the head of a request and lets ``respond(stream)`` write whatever it likes."""

    def __init__(self, respond, context):
        super().__init__(ssl_options=context)
        self._respond = respond
        self.connections = 0
        self.requests = []

    async def handle_stream(self, stream, address):
        self.connections += 1
        with suppress(StreamClosedError):
            self.requests.append(await stream.read_until(b"\r\n\r\n"))
            await self._respond(stream)
        stream.close()


@asynccontextmanager
async def wire(respond, context=None):
    """Run a :class:`Wire`, over TLS if there is a context; its ``port`` is free."""
    server = Wire(respond, context)
    (listener,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(listener)
    server.port = listener.getsockname()[1]
    try:
        yield server
    finally:
        server.stop()


def saying(*parts):
    """Return a ``respond`` that writes just this."""

    async def respond(stream):
        for part in parts:
            await stream.write(part)

    return respond


@asynccontextmanager
async def https(application, context):
    """Serve a Tornado application; yields the port."""
    server = HTTPServer(application, ssl_options=context)
    (listener,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(listener)
    try:
        yield listener.getsockname()[1]
    finally:
        server.stop()
        await server.close_all_connections()
