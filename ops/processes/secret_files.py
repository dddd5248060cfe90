"""Generated secrets in files that only their owner can read."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from ops.console import Failure

READABLE = "abcdefghjkmnpqrstuvwxyz23456789"  # without characters that look alike


def random_key() -> str:
    """Return a key of 256 random bits, safe in a URL."""
    return secrets.token_hex(32)


def readable_password() -> str:
    """Return a password of 98 random bits that can be read aloud: five groups of four."""
    return "-".join("".join(secrets.choice(READABLE) for _ in range(4)) for _ in range(5))


def private_folder(folder: Path) -> Path:
    """Create a folder with mode 0700. Raises Failure when it belongs to another user."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise Failure(f"{folder} belongs to user {owner}; run as that user, or use another --data folder.")
    folder.chmod(0o700)
    return folder


def read_or_create_secret(file: Path, make: Callable[[], str] = random_key) -> str:
    """Return the secret in a file, generating it on first use; the file is written atomically."""
    try:
        written = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        written = ""
    if written:
        return written
    secret = make()
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        output.write(secret + "\n")
        output.flush()
        os.fsync(output.fileno())
    fresh.replace(file)
    return secret
