"""Every documented command is run here or by the test named here, or its page says why it is not run."""

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.docs import pages
from tests.e2e.conftest import ROOT, Shop, clean_environment

# Run here, on the platform that all end-to-end tests share; the words are what must stand in the answer.
RUN = {
    "./zenzefi backup": "transfers",
    "./zenzefi ledger verify": "Ledger verification passed.",
    "curl -H 'X-Access-Token: <token>' http://127.0.0.1:8080/certificates/filter": "Certificate 1",
}
# Run by other tests: the beginning of the command, the file that runs it, and what shows in the file that it does.
ELSEWHERE = {
    "./zenzefi up": ("tests/e2e/conftest.py", '"up"'),
    "./zenzefi test": ("tests/ops/dev/test_testrun.py", "testrun"),
    "./zenzefi doctor": ("tests/e2e/test_doctor.py", '"doctor"'),
    "./zenzefi ledger verify --json": ("tests/ops/commands/test_ledger.py", '"--json"'),
    "./zenzefi audit verify": ("tests/ops/commands/test_audit.py", 'audit.main(["verify"])'),
    "./zenzefi seed": ("tests/ops/dev/test_seed.py", "ops.dev.seed"),
    "./zenzefi pages": ("tests/portal/test_page_costs.py", "ops.dev.page_profiler"),
    "./zenzefi load": ("tests/portal/test_load_journeys.py", '"load"'),
    "./zenzefi shots": ("tests/e2e/test_every_page.py", "ops.dev.screenshots"),
    "./zenzefi admin": ("tests/ops/commands/test_admin.py", "admin.main"),
    "./zenzefi bench --money": ("tests/ops/dev/test_bench_money.py", "ops.dev.bench.money"),
}
# Pages whose blocks are run as a whole, in their order.
WHOLE = {"api.md": ("tests/e2e/test_api.py", "api.md")}


def is_run(command: str) -> bool:
    """Return whether a test runs the command."""
    return command in RUN or any(command.startswith(beginning) for beginning in ELSEWHERE)


def test_every_documented_command_is_run_by_a_test_or_marked_as_not_run() -> None:
    blocks = [block for block in pages.blocks() if block.language == "sh" and block.page.name not in WHOLE]
    written = [(block, command) for block in blocks for command in block.commands]
    assert [(b.page.name, command) for b, command in written if not b.reason and not is_run(command)] == []
    for command in [*RUN, *ELSEWHERE]:
        assert any(one.startswith(command) for _, one in written), f"no page says {command} any more"
    for command, (file, sign) in {**ELSEWHERE, **WHOLE}.items():
        assert sign in (ROOT / file).read_text(encoding="utf-8"), f"{file} does not run {command}"


@pytest.mark.parametrize("command", RUN)
def test_a_documented_command_prints_what_its_page_says(shop: Shop, tmp_path: Path, command: str) -> None:
    written = command.replace("<token>", str(shop.ready["demo_token"])).replace("http://127.0.0.1:8080", shop.proxy)
    words = shlex.split(written)
    if words[0] == "./zenzefi":
        words = [str(ROOT / "zenzefi"), *words[1:], "--data", str(shop.data / "state")]
    done = subprocess.run(
        words, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert RUN[command] in done.stdout
