"""A Kerberos KDC on 127.0.0.1 for tests, with a realm, principals and keytabs that live as long as a test.

Debian's packages krb5-kdc, krb5-admin-server and krb5-user have the programs; their configuration is not
used. Its package libfaketime sets the KDC's clock wrong.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zkrecipes.ensemble.ports import free_ports

REALM = "ZKTEST.EXAMPLE"
PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")
_START_LIMIT = 10.0

_KRB5_CONF = """
[libdefaults]
    default_realm = {realm}
    dns_lookup_realm = false
    dns_lookup_kdc = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
    default_ccache_name = FILE:{folder}/ccache
[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
        kdc_listen = 127.0.0.1:{port}
        kdc_tcp_listen = 127.0.0.1:{port}
        database_name = {folder}/principal
        key_stash_file = {folder}/stash
    }}
[logging]
    kdc = FILE:{folder}/kdc.log
"""


def missing() -> list[str]:
    """Return the missing programs that a KDC needs."""
    programs = [f"the program {name}" for name in PROGRAMS if _find(name) is None]
    return programs if _fake_clock() else [*programs, "libfaketime"]


def _other_clock(seconds_ahead: int) -> dict[str, str]:
    """Return the environment of a program whose clock is ahead."""
    if seconds_ahead == 0:
        return {}
    return {"LD_PRELOAD": _fake_clock(), "FAKETIME": f"+{seconds_ahead}s"}


def _fake_clock() -> str:
    """Return Debian's library libfaketime, which shows programs another time; empty if not installed."""
    return next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass
class Kdc:
    """A realm with its KDC.

    Attributes:
        folder: the folder of all its files.
        port: the KDC's port.
    """

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def krb5_conf(self) -> Path:
        """The file for `$KRB5_CONFIG` and Java's `java.security.krb5.conf`."""
        return self.folder / "krb5.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The environment with which Kerberos finds this realm and no other."""
        return {
            "KRB5_CONFIG": str(self.krb5_conf),
            "KRB5_KDC_PROFILE": str(self.krb5_conf),
            "KRB5CCNAME": f"FILE:{self.folder}/ccache",
        }

    def add(self, *principals: str) -> Path:
        """Create principals, and return the keytab with their keys."""
        keytab = self.folder / f"{principals[0].replace('/', '-')}.keytab"
        for principal in principals:
            self.run("kadmin.local", "-r", REALM, "-q", f"addprinc -randkey {principal}")
            self.run("kadmin.local", "-r", REALM, "-q", f"ktadd -k {keytab} -norandkey {principal}")
        return keytab

    def kinit(self, principal: str, keytab: Path, lifetime: str = "1h") -> None:
        """Get tickets into the credential cache."""
        self.run("kinit", "-l", lifetime, "-kt", str(keytab), principal)

    def times_asked(self) -> int:
        """Return the number of requests for tickets with a password or keys."""
        return (self.folder / "kdc.log").read_text().count("AS_REQ (")

    def run(self, program: str, *arguments: str) -> None:
        """Run one of Kerberos' programs in this realm."""
        command = [_find(program) or program, *arguments]
        subprocess.run(command, env={**os.environ, **self.environment}, check=True, capture_output=True)

    def start(self, *, clock_ahead: int = 0) -> None:
        """Start the KDC; its clock may be some seconds ahead of ours."""
        command = [_find("krb5kdc") or "krb5kdc", "-n", "-r", REALM]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **self.environment, **_other_clock(clock_ahead)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ends_at = time.monotonic() + _START_LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < ends_at, "the KDC does not start"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop the KDC."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def kdc(folder: Path) -> Iterator[Kdc]:
    """Run a KDC with its files in `folder`."""
    (port,) = free_ports(1)
    realm = Kdc(folder, port)
    realm.krb5_conf.write_text(_KRB5_CONF.format(realm=REALM, folder=folder, port=port))
    realm.run("kdb5_util", "create", "-s", "-r", REALM, "-P", "master")
    realm.start()
    try:
        yield realm
    finally:
        realm.stop()
