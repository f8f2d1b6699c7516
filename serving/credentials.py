"""C2PA content credentials: a signed record in a colored file of what made it, with a key of the user's own."""

import io
import json
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from PIL import Image

from model.data.xmp import SOURCE_TYPE, Mark
from model.utils.errors import UserError

MEDIA_TYPES = ("image/jpeg", "image/png", "image/tiff", "image/webp")
"""Files that can be signed; BMP cannot."""

_SETTINGS = {
    "verify": {"verify_trust": False, "ocsp_fetch": False, "remote_manifest_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}  # nothing is fetched: the certificates are the user's own


class Credentials:
    """Signs colored files. Thread-safe."""

    def __init__(self, certificates: Path, key: Path) -> None:
        """Reads the key and its certificates.

        Args:
            certificates: PEM of the certificate for signing, then of those that issued it, but for the root.
            key: PEM of its private key, without a password.

        Raises:
            UserError: a file cannot be read or holds something else, the certificates do not belong to the key or are
                not for signing, or the package c2pa-python is missing.
        """
        try:
            import c2pa
        except ImportError:
            raise UserError("signing needs the package c2pa-python: pip install c2pa-python.") from None
        self._chain, secret = _read(certificates), _read(key)
        if b"-----BEGIN CERTIFICATE-----" not in self._chain:
            raise UserError(f"{certificates}: no certificate in PEM; give the chain of certificates of the key.")
        self._algorithm = _algorithm(key, secret)
        self._key = secret
        self._c2pa = c2pa
        tiny = io.BytesIO()
        Image.new("L", (8, 8)).save(tiny, "JPEG")
        self.sign(tiny.getvalue(), "image/jpeg", Mark("colorize 0", "test"))

    def sign(self, content: bytes, media_type: str, mark: Mark) -> bytes:
        """Returns the file with its credentials.

        Args:
            content: a colored file.
            media_type: one of `MEDIA_TYPES`; others are returned as they are.
            mark: what colored it.

        Raises:
            UserError: the certificates do not belong to the key or are not for signing.
        """
        if media_type not in MEDIA_TYPES:
            return content
        information = self._c2pa.C2paSignerInfo(self._algorithm, self._chain, self._key, None)
        program, _, version = mark.program.partition(" ")
        manifest = {
            "claim_generator_info": [{"name": program, "version": version}],
            "assertions": [
                {
                    "label": "c2pa.actions.v2",
                    "data": {
                        "actions": [
                            {
                                "action": "c2pa.created",
                                "digitalSourceType": SOURCE_TYPE,
                                "softwareAgent": {"name": program, "version": version},
                                "description": f"Colors of a black-and-white photograph by {mark.model}",
                            }
                        ]
                    },
                }
            ],
        }
        signed = io.BytesIO()
        try:
            context = self._c2pa.Context.from_dict(_SETTINGS)
            with self._c2pa.Signer.from_info(information) as signer, self._c2pa.Builder(manifest, context) as builder:
                builder.sign(signer, media_type, io.BytesIO(content), signed)
        except self._c2pa.C2paError as error:
            raise UserError(f"the picture cannot be signed: {error}.") from None
        return signed.getvalue()


def read_credentials(content: bytes, media_type: str) -> dict[str, object]:
    """Returns the active manifest of a file and the state of its validation, for checks.

    Raises:
        UserError: the file has no credentials, or they are damaged.
    """
    import c2pa

    try:
        context = c2pa.Context.from_dict(_SETTINGS)
        with c2pa.Reader(media_type, io.BytesIO(content), context=context) as reader:
            found = json.loads(reader.json())
    except c2pa.C2paError as error:
        raise UserError(f"no content credentials: {error}.") from None
    active: dict[str, object] = found["manifests"][found["active_manifest"]]
    return active | {"validation_state": found.get("validation_state")}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}.") from None


def _algorithm(path: Path, secret: bytes) -> str:
    """Returns C2PA's name of the algorithm of a private key."""
    try:
        key = load_pem_private_key(secret, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UserError(f"{path}: no private key in PEM without a password.") from None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        names = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if key.curve.name in names:
            return names[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise UserError(f"{path}: a kind of key that C2PA does not allow; make one with openssl ecparam -name prime256v1.")
