"""`./zenzefi openapi`: generate docs/openapi.json. Needs neither database nor Redis."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from models.config import settings as config
from ops.console import print_line
from portal import create_app
from portal.api.openapi.docs_pages import whole

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
_SECRETS = ("PORTAL__SECRET_KEY", "TOKENS__HASH_KEY", "TOKENS__MAC_KEYS", "PAYMENTS__MOCK_SIGNING_KEY")


def text() -> str:
    """Return the content of the file."""
    nowhere = {"DATABASE_URL": "postgresql://127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    secrets = {f"{config.PREFIX}{name}": "not a secret at all" for name in _SECRETS}
    app = create_app(config.load_settings(nowhere | secrets))
    return json.dumps(whole(app), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main(_arguments: Sequence[str]) -> int:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")
    print_line(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
