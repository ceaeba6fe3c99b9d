"""The certificate with which a workspace speaks TLS: made on this machine, for this machine alone.

It is its own authority: whoever is to trust the workspace is given the file `trusted`. That holds the
authorities that this machine trusts as well, because REQUESTS_CA_BUNDLE and SSL_CERT_FILE replace these.
"""

import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 825
# One that is about to end is replaced at a start, so that none ends under a running workspace soon after.
LEAST_DAYS_LEFT = 30


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a workspace's certificate."""

    served: Path
    """Key and certificate; its owner's only."""
    trusted: Path
    """What a client has to trust."""

    @classmethod
    def of(cls, folder: Path) -> "Certificate":
        """Where they stand in a state folder."""
        return cls(folder / "server" / "tls.pem", folder / "server" / "trusted.pem")


def ensure_certificate(folder: Path) -> Certificate:
    """The certificate of a state folder, made when there is none that lasts."""
    files = Certificate.of(folder)
    now = datetime.datetime.now(datetime.UTC)
    ours = _lasting(files.served, now)
    if ours is None:
        key, ours = _made(now)
        _write(files.served, key + ours, 0o600)
    _write(files.trusted, _machine_trusts() + ours, 0o600)
    return files


def _lasting(path: Path, now: datetime.datetime) -> bytes | None:
    """The certificate in the file, without its key, unless it ends soon."""
    if not path.exists():
        return None
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if certificate.not_valid_after_utc - now < datetime.timedelta(days=LEAST_DAYS_LEFT):
        return None
    return certificate.public_bytes(serialization.Encoding.PEM)


def _made(now: datetime.datetime) -> tuple[bytes, bytes]:
    """A new key and its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    public, name = key.public_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Local workspace")])
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _machine_trusts() -> bytes:
    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes().rstrip() + b"\n" if file else b""


def _write(path: Path, content: bytes, mode: int) -> None:
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
