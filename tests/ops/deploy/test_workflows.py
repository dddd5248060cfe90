"""The GitHub workflows: validity, permissions, pinned actions, existing files."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

from ops.bootstrap import REPOSITORY
from tests.ops.deploy.documents import document, follows_schema, tool

FILES = sorted((REPOSITORY / ".github/workflows").glob("*.yml"))
WORKFLOWS = {file.stem: document(file) for file in FILES}
# What GitHub's runners, or a package that the step installs, bring along.
FOREIGN = {"git", "install", "printf", "umask", "grep", "echo", "python", ".venv/bin/python"}


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((f"{name}.{key}", job) for name, flow in WORKFLOWS.items() for key, job in flow["jobs"].items())


def steps() -> Iterator[dict[str, Any]]:
    yield from (step for _, job in jobs() for step in job.get("steps", ()))


def test_workflows_follow_their_schema() -> None:
    follows_schema("github-workflows", *FILES)
    follows_schema("dependabot", REPOSITORY / ".github/dependabot.yml")


def test_zizmor_reports_nothing() -> None:
    tool("zizmor", "--offline", "--no-progress", "--min-severity", "medium", ".github")


def test_actions_are_pinned_by_commit_with_their_version_in_a_comment() -> None:
    for file in FILES:
        for line in file.read_text().splitlines():
            if "uses:" in line and "uses: ./" not in line:
                assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v?\d+\.\d+\.\d+$", line), line


def test_workflows_have_least_permissions_and_timeouts() -> None:
    for flow in WORKFLOWS.values():
        assert flow["permissions"] == {}
        assert "concurrency" in flow
    for name, job in jobs():
        assert job["permissions"].get("contents") == "read", name
        assert set(job["permissions"]) <= {"contents", "packages"}, name
        assert "timeout-minutes" in job or "uses" in job, name
    assert WORKFLOWS["deploy"]["concurrency"]["cancel-in-progress"] is False
    for step in steps():
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_no_secret_or_untrusted_text_is_interpolated_into_a_command() -> None:
    for step in steps():
        assert "${{" not in step.get("run", "")


def test_commands_of_workflows_name_existing_files() -> None:
    for step in steps():
        for line in step.get("run", "").splitlines():
            word = line.strip().removeprefix("(").split()[0].rstrip(";")
            if word not in FOREIGN:
                assert (REPOSITORY / word).is_file(), line
            for path in re.findall(r"(?<![\w/~.$-])(?:ops|docs|\.ci)/[\w./-]+", line):
                assert (REPOSITORY / path).exists(), line


def test_every_requirements_file_is_audited_and_updated() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*requirements*.txt"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    files = listed.stdout.splitlines()
    assert sorted(WORKFLOWS["audit"]["jobs"]["packages"]["strategy"]["matrix"]["requirements"]) == sorted(files)
    [pip] = [each for each in document(".github/dependabot.yml")["updates"] if each["package-ecosystem"] == "pip"]
    assert {folder.lstrip("/") for folder in pip["directories"]} == {file.rpartition("/")[0] for file in files}


def test_git_trusts_the_checkout_in_every_container_job() -> None:
    for name, job in jobs():
        if "container" in job:
            commands = [step.get("run", "") for step in job["steps"]]
            [trusted] = [place for place, run in enumerate(commands) if "safe.directory" in run]
            assert not any(commands[:trusted]), name


def test_the_tested_python_versions_are_those_of_the_readme() -> None:
    [told] = re.findall(r"Python ((?:3\.\d+)(?:(?:, | or )3\.\d+)*)", (REPOSITORY / "README.md").read_text())[:1]
    assert WORKFLOWS["test"]["jobs"]["test"]["strategy"]["matrix"]["python"] == re.findall(r"3\.\d+", told)


def test_only_tested_and_scanned_images_are_deployed() -> None:
    deploy = WORKFLOWS["deploy"]["jobs"]
    assert deploy["image"]["needs"] == "test"
    assert deploy["roll"]["needs"] == "image"
    uses = [step.get("uses", "").partition("@")[0] for step in deploy["image"]["steps"]]
    assert uses.index("aquasecurity/trivy-action") < uses.index("docker/login-action")
