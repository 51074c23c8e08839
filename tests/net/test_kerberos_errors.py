"""The descriptions of Kerberos' errors. Their numbers are tested with a real KDC."""

from __future__ import annotations

import pytest

from zkrecipes.net.kerberos_errors import describe_error, is_kdc_away

TABLE = -1765328384
FAILURE = 13 << 16
EXPIRED = 11 << 16


class Failed:
    """A `GSSError`, as far as the package reads it."""

    def __init__(self, minor: int, text: str = "…", major: int = FAILURE) -> None:
        self.min_code = minor % 2**32
        self.maj_code = major
        self._text = text

    def get_all_statuses(self, code: int, is_major: bool) -> list[str]:
        assert code == (self.maj_code if is_major else self.min_code)
        return ["major"] if is_major else [self._text]


@pytest.mark.parametrize(
    ("number", "looked_at"),
    [
        (6, "look at the principal"),
        (7, "look at the connect string"),
        (18, "look at the principal"),
        (24, "look at the keytab"),
        (31, "look at the keytab"),
        (32, "look at the credential cache"),
        (33, "look at the clocks"),
        (37, "look at the clocks"),
        (141, "look at the credential cache"),
        (148, "look at the clocks"),
        (195, "look at the credential cache"),
        (199, "look at the credential cache"),
    ],
)
def test_a_description_names_the_place_to_look_at(number: int, looked_at: str) -> None:
    reason = describe_error(Failed(TABLE + number, "So it is"), has_keytab=False)
    assert reason.startswith(f"Kerberos: So it is; {looked_at}")


@pytest.mark.parametrize("number", [32, 141, 195])
def test_with_a_keytab_it_is_the_keytab_that_matters(number: int) -> None:
    assert "; look at the keytab" in describe_error(Failed(TABLE + number), has_keytab=True)


def test_an_error_without_a_minor_status_shows_the_major_one() -> None:
    error = Failed(100001, "Success", EXPIRED)
    assert describe_error(error, has_keytab=False).startswith("Kerberos: major; look at the credential cache")


def test_an_unknown_error_is_shown_unchanged() -> None:
    assert describe_error(Failed(TABLE + 60, "Generic error"), has_keytab=True) == "Kerberos: Generic error"


def test_a_kdc_that_is_away_differs_from_one_that_refuses() -> None:
    assert [number for number in range(256) if is_kdc_away(Failed(TABLE + number))] == [154, 155, 156]
