"""For mitmproxy's stock tools: `mitmweb -s addon/entry.py --mode reverse:http://127.0.0.1:1` shows the flows live.

The upstream is that of the settings, whatever the mode names. This is a developer's view: the tool keeps every flow.
"""

from addon.components import WorkerComponents
from addon.http1.addon import Http1
from models.config import settings as config


class Life:
    """Starts and ends the engine with the tool that loaded it."""

    def __init__(self, engine: WorkerComponents) -> None:
        self._engine = engine

    def running(self) -> None:
        """The loop runs: begin."""
        self._engine.start()

    async def done(self) -> None:
        """The tool ends: write the last counts."""
        await self._engine.finish()


_engine = WorkerComponents(config.load_settings())
addons = [Http1(_engine.worker_context), Life(_engine)]
