"""Commands of the platform's parts, shared by the launcher and the container."""

from collections.abc import Mapping, Sequence

from ops.bootstrap import REPOSITORY

# Arguments of `python -m`.
PARTS: Mapping[str, Sequence[str]] = {
    "portal": ("gunicorn", "-c", str(REPOSITORY / "ops/container/gunicorn.conf.py"), "portal:create_app()"),
    "proxy": ("addon.supervisor",),
    "worker": ("jobs.worker",),
    "scheduler": ("jobs.scheduler",),
}
