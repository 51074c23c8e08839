"""Credentials as callers hand them over, checked before anything is sent. Secrets: no message shows one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zkrecipes.codec.secret import SecretBytes, hides_arguments
from zkrecipes.net.session import SessionKey
from zkrecipes.protocol.sasl import SaslMechanism

__all__ = ["check_credential", "check_credentials", "check_resume", "check_sasl"]

_ID_MIN: Final = -(2**63)
_ID_MAX: Final = 2**63 - 1


@hides_arguments
def check_credentials(auth: Sequence[object]) -> list[tuple[str, SecretBytes]]:
    """Return the (scheme, credential) pairs of `connect(auth=…)` as they are sent.

    Raises:
        TypeError: it is not a sequence of such pairs.
        ValueError: as `check_credential`.
    """
    checked = []
    for pair in (None,) if isinstance(auth, (str, bytes)) else auth:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError('auth must be a list of pairs, as in [("digest", "user:password")]')
        checked.append(check_credential(*pair))
    return checked


@hides_arguments
def check_credential(scheme: object, credential: object) -> tuple[str, SecretBytes]:
    """Return one pair as it is sent. It is checked before it is kept, for it is sent on every connection.

    Raises:
        TypeError: the scheme is not a string, or the credential neither a string nor bytes.
        ValueError: one of them cannot be encoded, or a `digest` has no colon.
    """
    if not isinstance(scheme, str):
        raise TypeError(f"an auth scheme must be a str, not {type(scheme).__name__}")
    if not isinstance(credential, (str, bytes)):
        raise TypeError(f"a credential must be a str or bytes, not {type(credential).__name__}")
    data = credential if isinstance(credential, bytes) else _encode("a credential", credential)
    _encode("an auth scheme", scheme)
    if scheme == "digest" and b":" not in data:
        raise ValueError("a digest credential must be 'user:password'; the one given has no ':'")
    return scheme, SecretBytes(data)


def _encode(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # That error holds the whole text.
        raise ValueError(f"{what} must be text that UTF-8 can encode; this one holds a surrogate") from None


@hides_arguments
def check_resume(resume: object) -> SessionKey | None:
    """What `connect(resume=…)` was given.

    Raises:
        TypeError: it is no key of a session, or has something of the wrong type in it.
        ValueError: no session has such an id, or such a timeout.
    """
    if resume is None:
        return None
    if not isinstance(resume, SessionKey):
        raise TypeError(f"resume is a SessionKey, as session.key is, not {type(resume).__name__}")
    given: tuple[object, ...] = resume
    session_id, password, timeout = given
    if not (
        isinstance(session_id, int) and isinstance(password, bytes) and isinstance(timeout, (int, float))
    ):
        raise TypeError("a SessionKey is an int, bytes and a number of seconds")
    if session_id == 0 or not _ID_MIN <= session_id <= _ID_MAX:
        raise ValueError(f"no session has the id {session_id}")
    if not timeout > 0:
        raise ValueError(f"no session has a timeout of {timeout!r} seconds")
    return resume


@hides_arguments
def check_sasl(sasl: object) -> SaslMechanism | None:
    """What `connect(sasl=…)` was given.

    Raises:
        TypeError: it is no mechanism; a class of mechanisms is none.
    """
    if sasl is None or (isinstance(sasl, SaslMechanism) and not isinstance(sasl, type)):
        return sasl
    what = sasl.__name__ if isinstance(sasl, type) else type(sasl).__name__
    raise TypeError(f'sasl is a mechanism, as zkrecipes.DigestMD5("user", "password") is, not {what}')
