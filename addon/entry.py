"""Addon script for mitmproxy: `mitmweb -s addon/entry.py --mode reverse:http://127.0.0.1:1` shows live flows.

The upstream is that of the settings, whatever the mode names. For developers only: the tool keeps every flow.
"""

from addon.components import WorkerComponents
from addon.http1.addon import Http1
from models.config import settings as config


class ComponentsLifecycle:
    """Starts and stops the worker's components with the tool that loaded this script."""

    def __init__(self, components: WorkerComponents) -> None:
        self._components = components

    def running(self) -> None:
        """Start when the event loop runs."""
        self._components.start()

    async def done(self) -> None:
        """Write the last counts when the tool ends."""
        await self._components.stop()


_components = WorkerComponents(config.load_settings())
addons = [Http1(_components.worker_context), ComponentsLifecycle(_components)]
