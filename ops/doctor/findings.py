"""What the doctor finds, and the house in which it looks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from models.config import Settings
from models.database import Sessions


@dataclass(frozen=True, slots=True)
class House:
    """The installation that is examined: its settings, a way to its database, and where its portal answers."""

    settings: Settings
    sessions: Sessions
    portal: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what ought to be, whether it is, and what was seen."""

    what: str
    is_well: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that can be examined. `examine` yields what it finds as it goes, and cleans up after itself."""

    name: str
    about: str
    examine: Callable[[House], Iterator[Finding]]
