"""Three functions of OpenSSL's library, which Python's own `ssl` module uses already: X25519, and ChaCha20-Poly1305.

Python has neither. https://docs.openssl.org/3.0/man3/EVP_EncryptInit/, https://docs.openssl.org/3.0/man3/EVP_PKEY_derive/
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from typing import Any

KEY_BYTES, TAG_BYTES = 32, 16
# EVP_PKEY_X25519 and EVP_CTRL_AEAD_GET_TAG of openssl/evp.h.
_X25519, _GET_TAG = 1034, 0x10
_BASE = (9).to_bytes(KEY_BYTES, "little")


class OpenSslError(Exception):
    """The library is missing, or did not do what it was asked."""


@cache
def _library() -> Any:
    for name in ("libcrypto.so.3", ctypes.util.find_library("crypto")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None and hasattr(library, "EVP_PKEY_new_raw_private_key"):
            pointers = "EVP_PKEY_new_raw_private_key EVP_PKEY_new_raw_public_key EVP_PKEY_CTX_new EVP_CIPHER_CTX_new"
            for function in [*pointers.split(), "EVP_chacha20_poly1305"]:
                getattr(library, function).restype = ctypes.c_void_p
            return library
    raise OpenSslError("OpenSSL's library, libcrypto.so.3, is not in this image")


def _must(result: int | None, what: str) -> int:
    if not result or result < 0:
        raise OpenSslError(f"OpenSSL refuses {what}")
    return result


def x25519(private: bytes, public: bytes = _BASE) -> bytes:
    """Return the secret that two keys share (RFC 7748), or a private key's public one."""
    lib = _library()
    mine = ctypes.c_void_p(_must(lib.EVP_PKEY_new_raw_private_key(_X25519, None, private, KEY_BYTES), "a private key"))
    theirs = ctypes.c_void_p(_must(lib.EVP_PKEY_new_raw_public_key(_X25519, None, public, KEY_BYTES), "a public key"))
    context = ctypes.c_void_p(_must(lib.EVP_PKEY_CTX_new(mine, None), "a key"))
    found, size = ctypes.create_string_buffer(KEY_BYTES), ctypes.c_size_t(KEY_BYTES)
    try:
        _must(lib.EVP_PKEY_derive_init(context), "a key")
        _must(lib.EVP_PKEY_derive_set_peer(context, theirs), "a public key")
        _must(lib.EVP_PKEY_derive(context, found, ctypes.byref(size)), "a public key of low order")
    finally:
        lib.EVP_PKEY_CTX_free(context)
        lib.EVP_PKEY_free(mine)
        lib.EVP_PKEY_free(theirs)
    return found.raw


def seal(key: bytes, nonce: bytes, plain: bytes) -> bytes:
    """Return a text encrypted by ChaCha20-Poly1305 (RFC 8439), with its tag behind it."""
    lib = _library()
    context = ctypes.c_void_p(_must(lib.EVP_CIPHER_CTX_new(), "to encrypt"))
    out, size = ctypes.create_string_buffer(len(plain) + TAG_BYTES), ctypes.c_int(0)
    try:
        cipher = ctypes.c_void_p(lib.EVP_chacha20_poly1305())
        _must(lib.EVP_EncryptInit_ex(context, cipher, None, key, nonce), "to encrypt")
        if plain:
            _must(lib.EVP_EncryptUpdate(context, out, ctypes.byref(size), plain, len(plain)), "to encrypt")
        rest = ctypes.c_int(0)
        _must(lib.EVP_EncryptFinal_ex(context, ctypes.byref(out, size.value), ctypes.byref(rest)), "to encrypt")
        tag = ctypes.byref(out, len(plain))
        _must(lib.EVP_CIPHER_CTX_ctrl(context, _GET_TAG, TAG_BYTES, tag), "to encrypt")
    finally:
        lib.EVP_CIPHER_CTX_free(context)
    return out.raw
