"""The commands of the platform's parts, the same under the launcher and in a container."""

from collections.abc import Mapping, Sequence

from ops.bootstrap import REPOSITORY

# What follows `python -m`.
PARTS: Mapping[str, Sequence[str]] = {
    "portal": ("gunicorn", "-c", str(REPOSITORY / "ops/container/gunicorn.conf.py"), "portal:create_app()"),
    "proxy": ("addon.supervisor",),
    "worker": ("jobs.worker",),
    "scheduler": ("jobs.scheduler",),
}
