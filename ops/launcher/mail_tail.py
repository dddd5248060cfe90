"""Print mails that the jobs write to their log while no mail server is configured."""

import re
from pathlib import Path

from ops.console import print_line

MAIL = re.compile(r"(?:^|: )(mail: .*)")


class MailTail:
    """Follows a log from its current end and prints the lines with mails."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._position = log.stat().st_size if log.exists() else 0
        self._rest = b""

    def show(self) -> None:
        """Print new complete lines."""
        for line in self._new_lines():
            found = MAIL.search(line)
            if found:
                print_line(found.group(1))

    def _new_lines(self) -> list[str]:
        try:
            size = self._log.stat().st_size
            if size < self._position:  # the log was rotated
                self._position, self._rest = 0, b""
            if size == self._position:
                return []
            with self._log.open("rb") as file:
                file.seek(self._position)
                data = self._rest + file.read()
                self._position = file.tell()
        except OSError:
            return []
        *lines, self._rest = data.split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]
