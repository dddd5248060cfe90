"""Modules that are imported at their first use: large ones that most processes never need."""

from importlib import import_module
from typing import Any


class LazyModule:
    """Stands for a module, and imports it when one of its names is first used.

    For type checkers, import the module itself under `if TYPE_CHECKING`.
    """

    def __init__(self, name: str) -> None:
        self.__module_name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__module_name), name)
