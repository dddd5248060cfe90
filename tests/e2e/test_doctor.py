"""The command as an operator runs it, against a platform as a user starts it."""

import subprocess

from tests.e2e.conftest import ROOT, Shop, clean_environment


def test_the_doctor_attacks_a_running_platform_and_finds_it_well(shop: Shop) -> None:
    command = [str(ROOT / "zenzefi"), "doctor", "--data", str(shop.data / "state"), "--portal", shop.portal]
    ended = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "mock: a replayed success credits nothing more: 1.00 ZNC credited" in ended.stdout
    assert ended.stdout.splitlines()[-1].endswith("findings, all well.")
