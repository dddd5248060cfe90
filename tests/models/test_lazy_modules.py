"""Large modules are imported at their first use only."""

import subprocess
import sys

import pytest

from models.lazy_modules import LazyModule


def test_a_lazy_module_gives_the_names_of_the_module() -> None:
    assert LazyModule("json").loads("[1]") == [1]
    with pytest.raises(AttributeError):
        LazyModule("json").nothing  # noqa: B018 - reading it is the test


@pytest.mark.parametrize("module", ["portal", "jobs.worker", "addon.worker", "ops.launcher.up"])
def test_no_part_imports_what_is_switched_off_or_seldom_used(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seldom = {"boto3", "fpdf", "mcp", "pyrage", "stripe", "yookassa", "zxcvbn"}
    assert seldom & set(done.stdout.split()) == set()
