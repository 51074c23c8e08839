"""Checks credentials as callers give them, before anything is sent. No message shows a secret."""

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
    """Return the (scheme, credential) pairs of `connect(auth=…)` in the form that is sent.

    Raises:
        TypeError: the argument is not a sequence of such pairs.
        ValueError: as for `check_credential`.
    """
    checked = []
    for pair in (None,) if isinstance(auth, (str, bytes)) else auth:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError('auth must be a list of pairs, as in [("digest", "user:password")]')
        checked.append(check_credential(*pair))
    return checked


@hides_arguments
def check_credential(scheme: object, credential: object) -> tuple[str, SecretBytes]:
    """Return one pair in the form that is sent, on every connection.

    Raises:
        TypeError: the scheme is not a string, or the credential is neither a string nor bytes.
        ValueError: one of them cannot be encoded, or a `digest` credential has no colon.
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
        # The original error contains the whole text.
        raise ValueError(
            f"{what} must be text that UTF-8 can encode; the given one contains a surrogate"
        ) from None


@hides_arguments
def check_resume(resume: object) -> SessionKey | None:
    """Return the argument of `connect(resume=…)` if it is the key of a possible session.

    Raises:
        TypeError: the argument is not a `SessionKey`, or one of its fields has the wrong type.
        ValueError: no session can have this id, or this timeout.
    """
    if resume is None:
        return None
    if not isinstance(resume, SessionKey):
        raise TypeError(f"resume must be a SessionKey, such as session.key, not {type(resume).__name__}")
    given: tuple[object, ...] = resume
    session_id, password, timeout = given
    if not (
        isinstance(session_id, int) and isinstance(password, bytes) and isinstance(timeout, (int, float))
    ):
        raise TypeError("a SessionKey must consist of an int, bytes and a number of seconds")
    if session_id == 0 or not _ID_MIN <= session_id <= _ID_MAX:
        raise ValueError(f"the id of a SessionKey must be a 64-bit number other than 0, not {session_id}")
    if not timeout > 0:
        raise ValueError(f"the timeout of a SessionKey must be above 0 seconds, not {timeout!r}")
    return resume


@hides_arguments
def check_sasl(sasl: object) -> SaslMechanism | None:
    """Return the argument of `connect(sasl=…)` if it is a mechanism or None.

    Raises:
        TypeError: the argument is not a mechanism, for example because it is a mechanism's class.
    """
    if sasl is None or (isinstance(sasl, SaslMechanism) and not isinstance(sasl, type)):
        return sasl
    given = sasl.__name__ if isinstance(sasl, type) else type(sasl).__name__
    raise TypeError(f'sasl must be a mechanism, such as zkrecipes.DigestMD5("user", "password"), not {given}')
