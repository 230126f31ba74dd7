"""Ed25519 signatures: the publisher of a version and of its live changes signs them, and services check the signatures.

What is signed contains the digests of all files, so its signature covers them. Signatures do not expire: an attacker who
can write to the bucket can make an older signed version, or an older state of its changes, live again.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from logo_similarity.catalog.files import read_small, replacing
from logo_similarity.catalog.manifest import MANIFEST, MANIFEST_BYTES, SIGNATURE
from logo_similarity.config import Settings
from logo_similarity.errors import CatalogError, ConfigError

SIGNATURE_BYTES = 1_000
"""Maximum size of a signature file; its actual size is 89 bytes."""
_KEY_BYTES = 10_000
_MANIFEST_CONTEXT = b"logo-similarity catalog manifest, version 1"
_CHANGES_CONTEXT = b"logo-similarity live changes, version 1"


def make_key(path: Path) -> str:
    """Write a new private key to a file that only its owner can read. Returns the public key in base64.

    Raises:
        OSError: the file exists already, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return _public_text(key)


def signing_key_of(settings: Settings) -> Ed25519PrivateKey | None:
    """The private key in the file that the settings name; None if they name no file.

    Raises:
        ConfigError: the file is not a readable private key, or the key does not match the public key in the settings.
    """
    path, public_key = settings.catalog_signing_key, settings.catalog_public_key
    if path is None:
        return None
    try:
        key = serialization.load_pem_private_key(read_small(path, _KEY_BYTES), password=None)
    except OSError as error:
        raise ConfigError(f"LOGO_CATALOG_SIGNING_KEY: {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            f"LOGO_CATALOG_SIGNING_KEY: {path} is not an Ed25519 private key; create one with "
            "`logo-similarity catalog keygen`"
        )
    if public_key is not None and _public_text(key) != public_key:
        raise ConfigError("LOGO_CATALOG_SIGNING_KEY does not match LOGO_CATALOG_PUBLIC_KEY")
    return key


def required_signing_key(settings: Settings) -> Ed25519PrivateKey | None:
    """As `signing_key_of`. Raises ConfigError, too, if what is not signed would be refused."""
    key = signing_key_of(settings)
    if key is None and settings.catalog_public_key is not None:
        raise ConfigError(
            "LOGO_CATALOG_PUBLIC_KEY is set, so an unsigned version would be refused: set LOGO_CATALOG_SIGNING_KEY too"
        )
    return key


def sign(folder: Path, name: str, key: Ed25519PrivateKey) -> None:
    """Write a signature of the manifest in `folder`, valid only for a version with this name."""
    signature = key.sign(_message(_MANIFEST_CONTEXT, name, read_small(folder / MANIFEST, MANIFEST_BYTES)))
    with replacing(folder / SIGNATURE) as file:
        file.write(base64.b64encode(signature) + b"\n")


def check_signature(folder: Path, public_key: str) -> None:
    """Check the signature of a version.

    Args:
        folder: the version's folder.
        public_key: Ed25519 public key in base64.

    Raises:
        CatalogError: the signature is missing or not valid.
        ConfigError: `public_key` is not a public key.
    """
    key = _public_key(public_key)
    try:
        signature = base64.b64decode(read_small(folder / SIGNATURE, SIGNATURE_BYTES), validate=False)
        key.verify(signature, _message(_MANIFEST_CONTEXT, folder.name, read_small(folder / MANIFEST, MANIFEST_BYTES)))
    except FileNotFoundError:
        raise CatalogError(
            f"version {folder.name!r} is not signed, but LOGO_CATALOG_PUBLIC_KEY requires a signature; publish it with "
            "LOGO_CATALOG_SIGNING_KEY"
        ) from None
    except OSError as error:
        raise CatalogError(f"{error.filename}: cannot be read ({error.strerror})") from None
    except (InvalidSignature, binascii.Error):
        raise CatalogError(
            f"version {folder.name!r} has no valid signature by the key in LOGO_CATALOG_PUBLIC_KEY"
        ) from None


def sign_changes(version: str, document: bytes, key: Ed25519PrivateKey) -> bytes:
    """The signature, in base64, of the description of a version's live changes."""
    return base64.b64encode(key.sign(_message(_CHANGES_CONTEXT, version, document)))


def check_changes_signature(version: str, document: bytes, signature: bytes, public_key: str) -> None:
    """Check a signature by `sign_changes`.

    Raises:
        CatalogError: it is not valid.
        ConfigError: `public_key` is not a public key.
    """
    try:
        _public_key(public_key).verify(
            base64.b64decode(signature, validate=True), _message(_CHANGES_CONTEXT, version, document)
        )
    except (InvalidSignature, binascii.Error):
        raise CatalogError(
            f"the live changes of version {version!r} have no valid signature by the key in LOGO_CATALOG_PUBLIC_KEY"
        ) from None


def _message(context: bytes, name: str, content: bytes) -> bytes:
    return b"\0".join((context, name.encode(), content))


def _public_text(key: Ed25519PrivateKey) -> str:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise ConfigError(
            "LOGO_CATALOG_PUBLIC_KEY is not an Ed25519 public key in base64; create one with "
            "`logo-similarity catalog keygen`"
        ) from None
