"""What Kerberos says when it fails, and what to look at then.

The numbers are those of Kerberos' library (krb5's `krb5_err.et`), whose first ones are the protocol's own
(RFC 4120, 7.5.9). Which of them comes when was tried with MIT's 1.20 (`tests/apache/test_sasl_kerberos.py`).
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["is_kdc_away", "reason_of"]

# Of a table of codes; GSSAPI has them unsigned.
_FIRST: Final = 2**32 - 1765328384
_KDC_AWAY: Final = range(154, 157)  # the realm unknown, the service unknown, no KDC reached
# Of a credential that has expired before anybody was asked there is but a major status (RFC 2744, 3.9.1).
_CREDENTIALS_EXPIRED: Final = 11

_CLOCKS: Final = "look at the clocks: here, of the KDC and of the server"
_TICKETS: Final = "look at the credential cache: does it need a kinit?"
_KEYTAB: Final = "look at the keytab: is it there, for this principal, and with its newest keys?"
_PRINCIPAL: Final = "look at the principal: has the KDC removed or locked it?"
_HINTS: Final = {
    6: _PRINCIPAL,  # the client's, unknown
    7: "look at the connect string: are host, service and realm those of the server's principal?",
    18: _PRINCIPAL,  # revoked
    24: _KEYTAB,  # the keys are not those that the KDC has, and it has noticed before answering
    31: _KEYTAB,  # … or we have after
    32: _TICKETS,  # expired
    33: _CLOCKS,  # not valid yet
    37: _CLOCKS,
    141: _TICKETS,  # there are none
    148: _CLOCKS,  # of the KDC's answer
    **dict.fromkeys(range(193, 200), _TICKETS),  # no such cache, or it cannot be read
}


def is_kdc_away(error: Any) -> bool:
    """Whether nobody has answered, so that another time somebody may."""
    return error.min_code - _FIRST in _KDC_AWAY


def reason_of(error: Any, *, has_keytab: bool) -> str:
    """Say what has happened and what to look at, without anything secret.

    Args:
        error: a `gssapi.exceptions.GSSError`.
        has_keytab: whether the tickets come from a keytab, which is what is missing then, whatever is said.
    """
    is_expired = error.maj_code >> 16 == _CREDENTIALS_EXPIRED
    hint = _HINTS.get(32 if is_expired else error.min_code - _FIRST, "")
    if has_keytab and hint is _TICKETS:
        hint = _KEYTAB
    return f"Kerberos: {_what_happened(error)}" + (f"; {hint}" if hint else "")


def _what_happened(error: Any) -> str:
    """The minor status says what has happened, and the major one only where; but some have no minor one."""
    minor = error.get_all_statuses(error.min_code, False)
    major = error.get_all_statuses(error.maj_code, True)
    return "; ".join([text for text in minor if text != "Success"] or major)
