"""What the pods' program encrypts is age's format: age itself, and its Rust sibling, open it; nobody else does."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backups.conftest import AGE, Key, new_key
from tests.support.backups import age, openssl
from tests.support.depth import with_the_clusters_programs
from tests.support.program import age as lab_age

SIZES = [0, 1, 65535, 65536, 65537, 2 * 65536, 3 * 65536 + 17]


def pieces(content: bytes) -> list[bytes]:
    return [content[at : at + age.CHUNK] for at in range(0, len(content), age.CHUNK)]


def sealed(content: bytes, *recipients: str) -> bytes:
    encryption = age.Encryption(recipients)
    found = b"".join(encryption.chunks(pieces(content)))
    assert len(found) == encryption.size(len(content))
    return found


@pytest.mark.skipif(not with_the_clusters_programs(), reason="make cluster-test builds age, and runs this")
@pytest.mark.parametrize("size", SIZES)
def test_age_decrypts_it_whatever_its_size(size: int, key: Key) -> None:
    content = secrets.token_bytes(size)
    assert key.opens(sealed(content, key.recipient)) == content


@settings(max_examples=25, deadline=None)
@given(size=st.integers(0, 4 * 65536), count=st.integers(1, 4))
def test_each_of_the_recipients_opens_it_and_nobody_else(size: int, count: int) -> None:
    content = secrets.token_bytes(size)
    owners = [pyrage.x25519.Identity.generate() for _ in range(count)]
    found = sealed(content, *(str(one.to_public()) for one in owners))
    for one in owners:
        assert pyrage.decrypt(found, [one]) == content
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(found, [pyrage.x25519.Identity.generate()])


@pytest.mark.parametrize("at", [0, 25, 60, 150, 200, -1])
def test_a_changed_byte_anywhere_is_found(at: int) -> None:
    owner = pyrage.x25519.Identity.generate()
    found = bytearray(sealed(b"x" * 100, str(owner.to_public())))
    found[at] ^= 1
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(bytes(found), [owner])


def test_two_encryptions_of_one_text_have_nothing_in_common() -> None:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    one, two = (sealed(b"the same" * 100, recipient) for _ in range(2))
    assert one[:22] == two[:22] == age.INTRO
    assert not any(one[at : at + 8] == two[at : at + 8] for at in range(40, len(one) - 8))


def test_the_header_says_how_many_can_open_a_file_and_how_long_it_is() -> None:
    for count in (1, 2, 5):
        recipients = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(count)]
        found = sealed(b"content", *recipients)
        number, length = age.header_of(found[: age.LONGEST_HEADER])
        assert number == count and length + age.sealed_size(7) == len(found)


@pytest.mark.skipif(not with_the_clusters_programs(), reason="make cluster-test builds age, and runs this")
def test_the_header_of_ages_own_files_is_read_as_well(key: Key) -> None:
    by_age = subprocess.run([AGE, "-r", key.recipient], input=b"1234", capture_output=True, check=True).stdout
    number, length = age.header_of(by_age)
    assert number == 1 and length + age.sealed_size(4) == len(by_age)


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"", "not encrypted by age"),
        (b"PK\3\4", "not encrypted by age"),
        (b"age-encryption.org/v1\n-> X25519 abc\n", "has no end"),
        (b"age-encryption.org/v1\n-> scrypt abc 18\nabc\n--- mac\n", "another kind"),
        (b"age-encryption.org/v1\n--- mac\n", "another kind"),
    ],
)
def test_what_is_no_file_of_age_is_refused(beginning: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        age.header_of(beginning)


def test_public_keys_are_read_as_the_labs_program_reads_them(tmp_path: Path) -> None:
    for number in range(20):
        made = new_key(tmp_path / str(number))
        assert age.public_key(made.recipient) == lab_age.decode(made.recipient, lab_age.RECIPIENT)


@pytest.mark.parametrize("text", ["", "age1", "age1b", "ssh-ed25519 AAAA", "age1" + "q" * 57, "AGE-SECRET-KEY-1QQ"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(age.RecipientError):
        age.public_key(text)


def test_it_encrypts_for_nobody_never() -> None:
    with pytest.raises(age.RecipientError, match="nobody could open it"):
        age.Encryption([])


def test_a_public_key_that_gives_the_secret_away_is_refused() -> None:
    # All zeros: each private key shares the same secret with it (RFC 7748, section 6.1).
    with pytest.raises(openssl.OpenSslError, match="low order"):
        openssl.x25519(secrets.token_bytes(32), bytes(32))


def test_openssl_agrees_with_the_labs_own_keys_and_both_sides_share_a_secret() -> None:
    one, two = secrets.token_bytes(32), secrets.token_bytes(32)
    assert openssl.x25519(one) == lab_age.public_key(one)
    assert openssl.x25519(one, openssl.x25519(two)) == openssl.x25519(two, openssl.x25519(one))


def test_openssl_computes_what_the_rfc_says() -> None:
    # RFC 8439, section 2.8.2, without its associated data, which changes the tag alone.
    key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
    plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
    assert openssl.seal(key, nonce, plain)[:16] == bytes.fromhex("d31a8d34648e60db7b86afbc53ef7ec2")
