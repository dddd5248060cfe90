"""Helpers for tests of deployment files: YAML documents and validators."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ops.bootstrap import REPOSITORY

TOOLS = Path(sys.executable).parent


def document(path: str | Path) -> dict[str, Any]:
    """Return a file's only document."""
    [only] = documents(path)
    return only


def documents(path: str | Path) -> list[dict[str, Any]]:
    """Return all documents of a file of the repository."""
    return [each for each in yaml.safe_load_all((REPOSITORY / path).read_text()) if each is not None]


def tool(name: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a tool in the repository, which must succeed, and return its output."""
    done = subprocess.run(
        [TOOLS / name, *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def follows_schema(schema: str, *files: str | Path) -> None:
    """Validate files against a schema that is included in check-jsonschema."""
    tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
