"""Where both single files begin: what is to be done before the first command of mcpserve."""

import contextlib
import fcntl
import os
import re
import shutil
import ssl
import sys
import time
from importlib.resources import files
from pathlib import Path

UNUSED = 24 * 3600
"""Seconds after which what another version unpacked goes, if nobody runs it."""

UNPACKED = re.compile(r"[0-9a-f]{16}(\.\d+)?")
"""How the folders are called; with a number, one that was never finished."""

CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
)


def main() -> None:
    """Do what the command line says."""
    find_certificates()
    if sys.argv[1:] == ["serve"]:
        write_config()
    from mcpserve.cli import main as command  # noqa: PLC0415

    command(prog_name="mcpserve")


def keep() -> None:
    """Lock what was unpacked until the process ends, and remove what nobody locks any more.

    The lock also keeps systemd-tmpfiles away, which looks for such.
    """
    unpacked = Path(sys.prefix)
    fcntl.flock(os.open(unpacked, os.O_RDONLY), fcntl.LOCK_SH)
    with contextlib.suppress(OSError):
        os.utime(unpacked)
    for other in unpacked.parent.iterdir():
        with contextlib.suppress(OSError):
            is_old = time.time() - other.stat().st_mtime > UNUSED
            if is_old and other != unpacked and UNPACKED.fullmatch(other.name):
                remove(other)


def remove(unpacked: Path) -> None:
    """Remove it, unless somebody runs it."""
    lock = os.open(unpacked, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(unpacked, ignore_errors=True)
    finally:
        os.close(lock)


def find_certificates() -> None:
    """Trust what this system trusts, which may be elsewhere than where the file was made."""
    usual = ssl.get_default_verify_paths()
    if not usual.cafile and not usual.capath and "SSL_CERT_FILE" not in os.environ:
        for path in filter(os.path.exists, CERTIFICATES):
            os.environ["SSL_CERT_FILE"] = path
            return


def write_config() -> None:
    """Make the config.yaml of a first start, as ``./dev run`` does."""
    if os.environ.get("MCPSERVE_CONFIG") or Path("config.yaml").exists():
        return
    example = files(__name__).joinpath("config.yaml.example").read_bytes()
    try:
        with open("config.yaml", "xb") as file:
            file.write(example)
    except OSError as error:
        told = f"No config.yaml, and none can be made here ({error.strerror}): no plugins are on."
    else:
        told = "Made config.yaml: it is yours to change."
    sys.stderr.write(f"{told}\n")
