"""`./zenzefi doctor` on a running platform."""

import json
import subprocess

from tests.e2e.conftest import ROOT, Shop, clean_environment


def doctor(shop: Shop, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "zenzefi"), "doctor", "--data", str(shop.data / "state"), *words]
    return subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)


def test_the_doctor_finds_a_running_platform_and_reports_no_problem(shop: Shop) -> None:
    ended = doctor(shop, "--json")
    report = json.loads(ended.stdout)
    assert [line for line in report["findings"] if line["level"] == "bad"] == []
    assert (ended.returncode, ended.stderr) == (0, "")
    seen = {line["what"]: line["seen"] for line in report["findings"]}
    assert seen["The portal answers and is ready"].startswith(f"{shop.portal}: healthy")
    assert seen["The gateway answers and is ready"].startswith(f"{shop.proxy}: ready")
