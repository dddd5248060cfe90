"""Generate the dashboards: `python -m ops.monitoring.grafana`. They are committed, so Grafana needs no Python."""

import json
from pathlib import Path

from ops.console import print_line
from ops.monitoring.grafana.business import BUSINESS
from ops.monitoring.grafana.gateway import GATEWAY
from ops.monitoring.grafana.health import HEALTH
from ops.monitoring.grafana.panels import dashboard

BOARDS = (HEALTH, BUSINESS, GATEWAY)
FOLDER = Path(__file__).resolve().parent / "dashboards"


def files() -> dict[Path, str]:
    """Return each file with what belongs in it."""
    return {
        FOLDER / f"{board.uid.removeprefix('zenzefi-')}.json": json.dumps(
            dashboard(board, [other for other in BOARDS if other is not board]), indent=1
        )
        + "\n"
        for board in BOARDS
    }


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print_line(str(path))


if __name__ == "__main__":
    main()
