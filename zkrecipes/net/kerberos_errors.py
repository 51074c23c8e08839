"""Explains a failure of Kerberos: the library's message, and the place to look at.

The numbers are those of Kerberos' library (krb5's `krb5_err.et`), whose first ones are the protocol's own
(RFC 4120, 7.5.9). The cases were tried with MIT's 1.20 (`tests/apache/test_sasl_kerberos.py`).
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["describe_error", "is_kdc_away"]

# The first code of the library's table, as GSSAPI reports it: unsigned.
_FIRST: Final = 2**32 - 1765328384
_KDC_AWAY: Final = range(154, 157)  # the realm unknown, the service unknown, no KDC reached
# A credential that expired before any request was sent has only a major status (RFC 2744, 3.9.1).
_CREDENTIALS_EXPIRED: Final = 11

_CLOCKS: Final = "look at the clocks: here, of the KDC and of the server"
_TICKETS: Final = "look at the credential cache: does it need a kinit?"
_KEYTAB: Final = "look at the keytab: is it there, for this principal, and with its newest keys?"
_PRINCIPAL: Final = "look at the principal: has the KDC removed or locked it?"
_HINTS: Final = {
    6: _PRINCIPAL,  # the client's, unknown
    7: "look at the connect string: are host, service and realm those of the server's principal?",
    18: _PRINCIPAL,  # revoked
    24: _KEYTAB,  # the keys differ from the KDC's, and the KDC noticed it before answering
    31: _KEYTAB,  # the same, and the client noticed it in the answer
    32: _TICKETS,  # expired
    33: _CLOCKS,  # not valid yet
    37: _CLOCKS,
    141: _TICKETS,  # no tickets
    148: _CLOCKS,  # of the KDC's answer
    **dict.fromkeys(range(193, 200), _TICKETS),  # no such cache, or it cannot be read
}


def is_kdc_away(error: Any) -> bool:
    """Whether no KDC has answered, so that a later try may succeed."""
    return error.min_code - _FIRST in _KDC_AWAY


def describe_error(error: Any, *, has_keytab: bool) -> str:
    """Describe the failure and the place to look at, without secrets.

    Args:
        error: a `gssapi.exceptions.GSSError`.
        has_keytab: whether the tickets come from a keytab. A lack of tickets is then due to the keytab,
            whatever the message is.
    """
    is_expired = error.maj_code >> 16 == _CREDENTIALS_EXPIRED
    hint = _HINTS.get(32 if is_expired else error.min_code - _FIRST, "")
    if has_keytab and hint is _TICKETS:
        hint = _KEYTAB
    return f"Kerberos: {_status_text(error)}" + (f"; {hint}" if hint else "")


def _status_text(error: Any) -> str:
    """Return the text of the minor status, which is the cause, or of the major one if there is none."""
    minor = error.get_all_statuses(error.min_code, False)
    major = error.get_all_statuses(error.maj_code, True)
    return "; ".join([text for text in minor if text != "Success"] or major)
