"""age's keys (https://github.com/C2SP/C2SP/blob/main/age.md): Bech32 with its checksum, and X25519. It needs nothing
beside Python, and nothing else of this program: the template's wizard and the lab's check read it, too."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

RECIPIENT, IDENTITY = "age", "age-secret-key-"
CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
EXAMPLE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
LENGTH = len(EXAMPLE)
KEY_BYTES = 32
# BIP 173.
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM = 6
# RFC 7748, section 4.1.
_PRIME, _A24, _BASE = 2**255 - 19, 121665, 9


@dataclass(frozen=True)
class Identity:
    """A private key, as a key file has it, and the public key that belongs to it."""

    private: str
    recipient: str

    def __repr__(self) -> str:
        return f"Identity({self.recipient})"


def recipient_problem(value: object) -> str | None:
    """Return why *value* is no public key that SOPS and Flux can encrypt for and decrypt; None if it is one."""
    if not isinstance(value, str) or not value.startswith("age1"):
        return _another_kind(value)
    wrong = next((letter for letter in value[4:] if letter not in CHARSET), "")
    if "1" in value[4:] and len(value) != LENGTH:
        found = f"`{value}` is a key of another kind, or of an age plugin; give an X25519 key, such as `{EXAMPLE}`"
    elif wrong:
        found = f"`{value}`: `{wrong}` is never in a public age key; copy the key again"
    elif len(value) != LENGTH:
        found = f"`{value}` has {len(value)} characters, and a public age key has {LENGTH}; copy the key again"
    elif decode(value, RECIPIENT) is None:
        found = f"`{value}` has a wrong letter: its checksum does not fit; copy the key again"
    else:
        return None
    return found


def _another_kind(value: object) -> str:
    if str(value).upper().startswith("AGE-SECRET-KEY-"):
        return "that is a private key, which must never be in Git; give its public key, the line `# public key: age1…`"
    if str(value).startswith(("ssh-", "AAAA")):
        return "an SSH key is not an age key; make one with `./lab secret init`, or with `age-keygen`"
    return f"`{value}` is not a public age key; give one such as `{EXAMPLE}`"


def recipients_problem(value: object) -> str | None:
    """Return why *value* is no list of public keys, each there once; None if it is one. An empty list is."""
    if not isinstance(value, list):
        return f"`{value}` is not a list; give one such as `[{EXAMPLE}]`, or `[]`"
    for number, one in enumerate(value):
        found = recipient_problem(one)
        if found is not None:
            return found
        if one in value[:number]:
            return f"`{one}` is in the list twice; keep it once"
    return None


def identities(text: str) -> list[Identity]:
    """Return the private keys of a key file that SOPS and Flux can use; other kinds, and comments, are passed over."""
    found = []
    for line in text.splitlines():
        raw = decode(line.strip().lower(), IDENTITY) if line.strip().isupper() else None
        if raw is not None:
            found.append(Identity(line.strip(), encode(RECIPIENT, public_key(raw))))
    return found


def new_identity() -> Identity:
    """Make a key pair."""
    raw = secrets.token_bytes(KEY_BYTES)
    return Identity(encode(IDENTITY, raw).upper(), encode(RECIPIENT, public_key(raw)))


def public_key(private: bytes) -> bytes:
    """Return the public key of a private one: X25519 with the base point (RFC 7748, section 5)."""
    number = int.from_bytes(private, "little")
    scalar = (number & ~(7 | 1 << 255)) | 1 << 254
    x2, z2, x3, z3, swapped = 1, 0, _BASE, 1, 0
    for place in reversed(range(255)):
        bit = scalar >> place & 1
        if swapped ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swapped = bit
        plus, minus = x2 + z2, x2 - z2
        square_plus, square_minus = plus * plus % _PRIME, minus * minus % _PRIME
        difference = (square_plus - square_minus) % _PRIME
        cross, other = (x3 - z3) * plus % _PRIME, (x3 + z3) * minus % _PRIME
        x3, z3 = (cross + other) ** 2 % _PRIME, _BASE * (cross - other) ** 2 % _PRIME
        x2, z2 = square_plus * square_minus % _PRIME, difference * (square_plus + _A24 * difference) % _PRIME
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _PRIME - 2, _PRIME) % _PRIME).to_bytes(KEY_BYTES, "little")


def encode(prefix: str, data: bytes) -> str:
    """Return *data* in Bech32, in small letters."""
    words = _regrouped(data, 8, 5, pad=True) or []
    checksum = _polymod([*_expanded(prefix), *words, *[0] * _CHECKSUM]) ^ 1
    words += [checksum >> 5 * (_CHECKSUM - 1 - place) & 31 for place in range(_CHECKSUM)]
    return f"{prefix}1{''.join(CHARSET[word] for word in words)}"


def decode(text: str, prefix: str) -> bytes | None:
    """Return the 32 bytes that a Bech32 text with this prefix stands for; None if it is none, or its checksum is
    wrong."""
    head, _, tail = text.rpartition("1")
    if head != prefix or any(letter not in CHARSET for letter in tail) or len(tail) <= _CHECKSUM:
        return None
    words = [CHARSET.index(letter) for letter in tail]
    if _polymod([*_expanded(prefix), *words]) != 1:
        return None
    data = _regrouped(words[:-_CHECKSUM], 5, 8, pad=False)
    return bytes(data) if data is not None and len(data) == KEY_BYTES else None


def _polymod(words: Iterable[int]) -> int:
    found = 1
    for word in words:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ word
        for place, term in enumerate(_GENERATOR):
            found ^= term if top >> place & 1 else 0
    return found


def _expanded(prefix: str) -> list[int]:
    return [*(ord(letter) >> 5 for letter in prefix), 0, *(ord(letter) & 31 for letter in prefix)]


def _regrouped(words: Iterable[int], before: int, after: int, *, pad: bool) -> list[int] | None:
    """Return numbers of *before* bits as numbers of *after* bits; None where bits that should be zero are not."""
    collected = bits = 0
    found = []
    for word in words:
        collected, bits = collected << before | word, bits + before
        while bits >= after:
            bits -= after
            found.append(collected >> bits & (1 << after) - 1)
    rest = collected & (1 << bits) - 1
    if pad and bits:
        found.append(rest << after - bits)
    elif not pad and (bits >= before or rest):
        return None
    return found
