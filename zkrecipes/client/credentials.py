"""Credentials as callers hand them over, checked before anything is sent. Secrets: no message shows one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zkrecipes.net.session import SessionKey
from zkrecipes.protocol.sasl import SaslMechanism

__all__ = ["check_credential", "check_credentials", "check_resume", "check_sasl"]

_ID_MIN: Final = -(2**63)
_ID_MAX: Final = 2**63 - 1


def check_credentials(auth: Sequence[object]) -> list[tuple[str, bytes]]:
    """The (scheme, credential) pairs of `connect(auth=…)`, as they are sent.

    Raises:
        TypeError: it is no sequence of such pairs.
    """
    checked = []
    for pair in (None,) if isinstance(auth, (str, bytes)) else auth:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError('auth is a list of pairs, as in [("digest", "user:password")]')
        checked.append(check_credential(*pair))
    return checked


def check_credential(scheme: object, credential: object) -> tuple[str, bytes]:
    """One pair, as it is sent.

    Raises:
        TypeError: the scheme is no string, or the credential neither a string nor bytes.
    """
    if not isinstance(scheme, str):
        raise TypeError(f"an auth scheme is a str, not {type(scheme).__name__}")
    if isinstance(credential, str):
        return scheme, credential.encode()
    if not isinstance(credential, bytes):
        raise TypeError(f"a credential is a str or bytes, not {type(credential).__name__}")
    return scheme, credential


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


def check_sasl(sasl: object) -> SaslMechanism | None:
    """What `connect(sasl=…)` was given.

    Raises:
        TypeError: it is no mechanism; a class of mechanisms is none.
    """
    if sasl is None or (isinstance(sasl, SaslMechanism) and not isinstance(sasl, type)):
        return sasl
    what = sasl.__name__ if isinstance(sasl, type) else type(sasl).__name__
    raise TypeError(f'sasl is a mechanism, as zkrecipes.DigestMD5("user", "password") is, not {what}')
