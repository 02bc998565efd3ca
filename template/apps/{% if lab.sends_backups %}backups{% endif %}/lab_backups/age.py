"""age's format (https://age-encryption.org/v1), the half that encrypts. `age` itself decrypts what this writes.

No image has both Python and age, and a set is larger than a pod's disk: it is encrypted while it is sent.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Sequence

from .openssl import KEY_BYTES, TAG_BYTES, seal, x25519

INTRO = b"age-encryption.org/v1\n"
STANZA, MAC = b"-> X25519 ", b"---"
CHUNK = 64 * 1024
FILE_KEY_BYTES = NONCE_BYTES = 16
# A header of a hundred recipients is shorter.
LONGEST_HEADER = 16 * 1024
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_PREFIX, _CHECKSUM = "age1", 6
_INFO_WRAP, _INFO_HEADER, _INFO_PAYLOAD = b"age-encryption.org/v1/X25519", b"header", b"payload"


class RecipientError(ValueError):
    """A text is no public key."""


def public_key(recipient: str) -> bytes:
    """Return the 32 bytes of a public key, `age1…`. The wizard has checked its checksum (BIP 173)."""
    words = [_CHARSET.find(letter) for letter in recipient.removeprefix(_PREFIX)]
    if not recipient.startswith(_PREFIX) or min(words, default=-1) < 0:
        raise RecipientError(f"`{recipient}` is no public age key")
    bits = "".join(f"{word:05b}" for word in words[:-_CHECKSUM])
    if len(bits) // 8 != KEY_BYTES or "1" in bits[KEY_BYTES * 8 :]:
        raise RecipientError(f"`{recipient}` is no public age key: it has another length")
    return int(bits[: KEY_BYTES * 8], 2).to_bytes(KEY_BYTES, "big")


class Encryption:
    """One file's encryption.

    Args:
        recipients: the public keys of those who can open it.
    """

    def __init__(self, recipients: Sequence[str]) -> None:
        if not recipients:
            raise RecipientError("nobody could open it: there is no public key to encrypt for")
        file_key = secrets.token_bytes(FILE_KEY_BYTES)
        head = INTRO + b"".join(_stanza(file_key, public_key(one)) for one in recipients) + MAC
        mac = hmac.digest(_hkdf(file_key, b"", _INFO_HEADER), head, "sha256")
        nonce = secrets.token_bytes(NONCE_BYTES)
        self.header = head + b" " + _base64(mac) + b"\n" + nonce
        self._key = _hkdf(file_key, nonce, _INFO_PAYLOAD)

    def size(self, plain: int) -> int:
        """Return how many bytes a file of so many takes."""
        return len(self.header) + sealed_size(plain)

    def chunks(self, plain: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what is to be written.

        Args:
            plain: the file in pieces of CHUNK bytes; only its last one may be shorter.
        """
        yield self.header
        held, number = None, 0
        for piece in plain:
            if held is not None:
                yield seal(self._key, number.to_bytes(11, "big") + b"\0", held)
                number += 1
            held = piece
        yield seal(self._key, number.to_bytes(11, "big") + b"\1", held or b"")


def sealed_size(plain: int) -> int:
    """Return how many bytes the payload of so many takes: a tag for each chunk, and there is one at least."""
    return plain + TAG_BYTES * max(1, -(-plain // CHUNK))


def header_of(beginning: bytes) -> tuple[int, int]:
    """Return how many recipients a file has, and how long its header is, nonce included.

    Who they are it does not say: each stanza looks like any other to all but its recipient.

    Raises:
        ValueError: it is no file of age's.
    """
    if not beginning.startswith(INTRO):
        raise ValueError("it is not encrypted by age")
    end = beginning.find(b"\n" + MAC + b" ")
    line = beginning.find(b"\n", end + 1)
    if end < 0 or line < 0:
        raise ValueError("the header of age has no end")
    stanzas = [one for one in beginning[:end].split(b"\n") if one.startswith(b"->")]
    if not stanzas or not all(one.startswith(STANZA) for one in stanzas):
        raise ValueError("it is encrypted for another kind of recipient")
    return len(stanzas), line + 1 + NONCE_BYTES


def _stanza(file_key: bytes, recipient: bytes) -> bytes:
    mine = secrets.token_bytes(KEY_BYTES)
    share = x25519(mine)
    key = _hkdf(x25519(mine, recipient), share + recipient, _INFO_WRAP)
    return STANZA + _base64(share) + b"\n" + _base64(seal(key, bytes(12), file_key)) + b"\n"


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes by HKDF with SHA-256 (RFC 5869)."""
    extracted = hmac.digest(salt or bytes(hashlib.sha256().digest_size), key, "sha256")
    return hmac.digest(extracted, info + b"\1", "sha256")


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")
