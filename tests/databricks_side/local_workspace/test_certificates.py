"""The certificate: for this machine alone, kept, and trusted by who is given it."""

import datetime
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from local_workspace import certificates
from local_workspace.certificates import Certificate, ensure_certificate


@pytest.fixture
def made(tmp_path: Path) -> Certificate:
    (tmp_path / "server").mkdir()
    return ensure_certificate(tmp_path)


def _greet(made: Certificate, host: str) -> str:
    """Connect under that name, trusting what is to be trusted: the protocol that both agreed on."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.served)
    near, far = socket.socketpair()
    serving = threading.Thread(target=lambda: server.wrap_socket(far, server_side=True).close())
    serving.start()
    client = ssl.create_default_context(cafile=made.trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT  # as later Pythons do by themselves
    try:
        with client.wrap_socket(near, server_hostname=host) as connection:
            return connection.version() or ""
    finally:
        near.close()
        serving.join()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_it_holds_for_this_machine(made: Certificate, host: str) -> None:
    assert _greet(made, host).startswith("TLS")


def test_its_key_is_its_owners_only(made: Certificate) -> None:
    assert stat.S_IMODE(made.served.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" in made.served.read_bytes()
    assert b"PRIVATE KEY" not in made.trusted.read_bytes()


def test_who_trusts_it_trusts_what_the_machine_trusts_too(made: Certificate) -> None:
    known = ssl.create_default_context().cert_store_stats()["x509_ca"]
    trusted = made.trusted.read_bytes().count(b"BEGIN CERTIFICATE")
    assert trusted > (known if ssl.get_default_verify_paths().cafile else 0)


def test_it_is_kept_until_it_is_about_to_end(
    made: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made.served.read_bytes()
    assert ensure_certificate(tmp_path) == made and made.served.read_bytes() == first
    certificate = x509.load_pem_x509_certificate(first)
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    monkeypatch.setattr(certificates, "LEAST_DAYS_LEFT", left.days + 1)
    ensure_certificate(tmp_path)
    assert made.served.read_bytes() != first
    old = certificate.public_bytes(Encoding.PEM)
    assert old in first and old not in made.trusted.read_bytes()
