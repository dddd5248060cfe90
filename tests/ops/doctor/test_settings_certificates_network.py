"""`./zenzefi doctor` checks settings, secrets, certificates and network services."""

import datetime
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto import mock_aws

from models import clock
from ops.doctor import certificates, configuration, connectivity, mail_server
from ops.doctor.findings import Level
from tests.addon.http1 import test_tls
from tests.jobs import fake_smtp_server
from tests.ops.doctor.helpers import NOWHERE, installation, problems, production, settings

WARNING, BAD = Level.WARNING, Level.BAD


class Answers(http.server.BaseHTTPRequestHandler):
    """Sends the same response to every client."""

    def __init__(self, status: int, body: bytes, *more: Any) -> None:
        self.said = status, body
        super().__init__(*more)

    def do_GET(self) -> None:
        self.send_response(self.said[0])
        self.send_header("Content-Length", str(len(self.said[1])))
        self.end_headers()
        self.wfile.write(self.said[1])

    def log_message(self, *_words: Any) -> None:
        pass


@contextmanager
def answering(status: int, body: bytes, certificate: Path | None = None) -> Iterator[str]:
    """Serve one response on a free port; yields host and port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, status, body))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "level"),
    [
        (200, b'{"status": "healthy"}', None),
        (200, b'{"status": "degraded"}', WARNING),
        (200, b'{"status": "unhealthy"}', BAD),
        (503, b'{"status": "draining"}', BAD),
        (200, b"<h1>It works!</h1>", BAD),
        (404, b"", BAD),
    ],
)
def test_portal_and_gateway_are_judged_by_their_health_reports(status: int, body: bytes, level: Level | None) -> None:
    with answering(status, body) as place:
        home = replace(installation(), portal=f"http://{place}", gateway=f"http://{place}")
        for examine in (connectivity.examine_portal, connectivity.examine_gateway):
            assert set(problems(examine(home)).values()) == ({level} if level else set())


def test_another_program_on_the_port_is_distinguished_from_a_stopped_portal() -> None:
    [finding] = connectivity.examine_portal(installation())
    assert finding.seen == f"nothing listens at http://{NOWHERE}"
    with answering(200, b"hello") as place:
        [finding] = connectivity.examine_portal(replace(installation(), portal=f"http://{place}"))
    assert "Another program listens there" in finding.do


def test_every_address_of_the_upstream_is_checked() -> None:
    with answering(204, b"") as good, answering(500, b"") as broken:
        addresses = f'["{good}", "{broken}", "{NOWHERE}"]'
        home = installation(upstream__url="http://sold.example", upstream__addresses=addresses)
        assert problems(connectivity.examine_upstream(home)) == {
            f"The upstream answers at {broken}": BAD, f"The upstream answers at {NOWHERE}": BAD
        }  # fmt: skip
    assert problems(connectivity.examine_upstream(installation())) == {"An upstream is configured": WARNING}


def test_the_mail_server_is_checked_without_sending_mail() -> None:
    with fake_smtp_server.running() as sink:
        given = {"mail__smtp_host": "127.0.0.1", "mail__smtp_port": str(sink.port), "mail__smtp_starttls": "false"}
        assert problems(mail_server.examine(installation(**given))) == {}
        refused = {**given, "mail__smtp_user": "zenzefi", "mail__smtp_password": "wrong"}
        assert set(problems(mail_server.examine(installation(**refused))).values()) == {BAD}
        assert set(
            problems(mail_server.examine(installation(**{**given, "mail__smtp_starttls": "true"}))).values()
        ) == {BAD}
        assert sink.envelopes == []
    assert problems(mail_server.examine(installation(mail__smtp_host="127.0.0.1", mail__smtp_port="9"))).keys() == {
        "The mail server accepts mail"
    }
    assert problems(mail_server.examine(installation())) == {}
    assert set(problems(mail_server.examine(installation(**production()))).values()) == {BAD}


def test_the_cause_is_named_when_mail_cannot_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(port: int, **more: str) -> str:
        given = {"mail__smtp_host": "127.0.0.1", "mail__smtp_port": str(port), **more}
        [finding] = mail_server.examine(installation(**given))
        return finding.seen.partition(": ")[2]

    certificate = test_tls.issue(tmp_path, "mail", "localhost")
    monkeypatch.setattr(mail_server, "TIMEOUT_SECONDS", 0.5)
    with fake_smtp_server.running() as sink:
        assert seen(sink.port) == "it offers no STARTTLS"
        assert seen(sink.port, mail__smtp_security="tls") == "it does not begin with TLS"
    with fake_smtp_server.running(certificate=certificate) as sink:
        assert seen(sink.port).startswith("its certificate is refused: self-signed certificate")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert seen(sink.port) == "it answers, TLS"
    with fake_smtp_server.running(certificate=certificate, begins_with_tls=True) as sink:
        assert seen(sink.port) == "it does not greet"
        assert seen(sink.port, mail__smtp_security="tls") == "it answers, TLS"
    assert seen(9) == "nothing listens there"
    [finding] = mail_server.examine(installation(mail__smtp_host="mail.invalid"))
    assert "cannot be resolved" in finding.seen


def test_a_bucket_without_the_newest_backup_is_reported(tmp_path: Path) -> None:
    what, folder = "Backups are copied to a bucket", str(tmp_path)
    with mock_aws():
        away = installation(
            backup__s3_bucket="away",
            backup__s3_access_key="key",
            backup__s3_secret_key="a secret of sixteen",
            backup__folder=folder,
        )
        assert problems(connectivity.examine_bucket(away)) == {what: BAD}
        assert problems(
            connectivity.examine_bucket(installation(backup__s3_bucket="away", backup__s3_access_key="key"))
        ) == {what: BAD}
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="away")
        assert problems(connectivity.examine_bucket(away)) == {}
    assert problems(connectivity.examine_bucket(installation())) == {}
    assert problems(connectivity.examine_bucket(installation(**production()))) == {what: WARNING}


def test_short_keys_and_world_readable_files_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guessed, readable = "The keys are strong", "Only this user can read the secrets"
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    (folder / "tokens.hash_key").touch(0o600)
    assert problems(configuration.examine(installation(data=tmp_path))) == {}
    (folder / "tokens.hash_key").chmod(0o640)
    given = folder / "given"
    given.touch()
    given.chmod(0o644)
    monkeypatch.setenv("ZENZEFI_MAIL__SMTP_PASSWORD_FILE", str(given))
    weak = installation(
        data=tmp_path, tokens__mac_keys="0123456789abcdef0123456789abcdef,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    )
    assert problems(configuration.examine(weak)) == {
        guessed: WARNING, readable: BAD, "Files named in the settings are not world-readable": WARNING
    }  # fmt: skip
    real = installation(settings(**production(portal__secret_key="a short key of ours")))
    assert problems(configuration.examine(real))[guessed] is BAD


def test_risky_settings_are_reported_with_their_consequences() -> None:
    found = problems(configuration.examine(installation(portal__host="0.0.0.0", proxy__host="192.0.2.7")))  # noqa: S104 - the fault
    assert found == {"Only this machine can reach a development installation": WARNING}
    clear = {"DATABASE_URL": "postgresql://a@db.example/z", "REDIS_URL": "redis://cache.example/0"}
    home = installation(**production(database__url=clear["DATABASE_URL"], redis__url=clear["REDIS_URL"]))
    assert problems(configuration.examine(home)) == dict.fromkeys(
        [
            "A payment provider is configured",
            "The portal sees client addresses",
            "The gateway sees client addresses",
            "Receipts say who sells",
            "The connection is encrypted to PostgreSQL",
            "The connection is encrypted to Redis",
        ],
        WARNING,
    )


def test_every_secret_setting_is_known_and_never_printed() -> None:
    given = settings(mail__smtp_password="a mail password", database__url="postgresql://a:db-secret@h/z")
    hidden = configuration.secrets_of(given)
    assert {"a mail password", "db-secret", given.portal.secret_key.get_secret_value()} <= hidden


# Python 3.13 verifies strictly: only authorities may have the CA flag and the key usage to sign certificates.
_USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
_MAY_NOT = dict.fromkeys([*_USES, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"], False)


def issue(
    name: str, *, days: float = 90, by: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Issue a certificate, self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = by[0].subject if by else subject
    now = clock.now()
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(**{**_MAY_NOT, "digital_signature": True, "key_cert_sign": by is None}), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((by[1] if by else key).public_key()), critical=False
        )
    )
    return builder.sign(by[1] if by else key, hashes.SHA256()), key


def written(path: Path, key: ec.EllipticCurvePrivateKey, *chain: x509.Certificate) -> Path:
    """Write a key and a chain into one PEM file."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    parts = [key.private_bytes(encoding, form, serialization.NoEncryption())]
    path.write_bytes(b"".join([*parts, *(one.public_bytes(encoding) for one in chain)]))
    return path


def test_a_certificate_file_is_checked_for_dates_name_and_chain(tmp_path: Path) -> None:
    def found(*chain: x509.Certificate, host: str = "proxy.example", key: Any = None) -> dict[str, Level]:
        path = str(written(tmp_path / "all.pem", key or leaf[1], *chain))
        home = installation(proxy__tls_certificate=path, proxy__public_url=f"http://{host}")
        return {
            what.removeprefix("The certificate of the workers "): level
            for what, level in problems(certificates.examine(home)).items()
        }

    root = issue("An authority")
    leaf = issue("proxy.example", by=root)
    assert found(leaf[0], root[0]) == {}
    assert found(leaf[0], root[0], host="other.example") == {"is for other.example": BAD}
    assert found(leaf[0], issue("Somebody else")[0]) == {"has its chain in order": BAD}
    assert found(leaf[0], key=root[1]) == {"can be read and fits its key": BAD}
    for days, level in ((10, WARNING), (2, BAD), (-1, BAD)):
        leaf = issue("proxy.example", days=days, by=root)
        assert found(leaf[0], root[0]) == {"is valid for a while": level}
    leaf = issue("proxy.example")
    assert found(leaf[0]) == {"is issued by an authority": WARNING}


def test_served_certificates_are_checked_as_a_browser_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = issue("An authority")
    authorities = written(tmp_path / "root.pem", root[1], root[0])
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    for name, wanted in (
        ("localhost", set[str]()),
        ("other.example", {"Browsers trust the portal's certificate for localhost"}),
    ):
        leaf = issue(name, by=root)
        with answering(200, b"", written(tmp_path / "leaf.pem", leaf[1], leaf[0])) as place:
            home = installation(portal__public_url=f"https://localhost:{place.partition(':')[2]}")
            found = {what.removeprefix("The portal's certificate ") for what in problems(certificates.examine(home))}
        assert found == wanted
    gone = installation(portal__public_url="https://localhost:9")
    assert set(problems(certificates.examine(gone)).values()) == {BAD}


def test_an_unreadable_ca_file_is_reported() -> None:
    assert set(problems(certificates.examine(installation(upstream__ca_file="/no/such/file"))).values()) == {BAD}
