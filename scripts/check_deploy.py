"""Check what other programs read: manifests by Kubernetes' schemas, CI files by those of their services.

The schemas come with two packages, so no network is needed. Each check is also shown a broken file, which it must
refuse. `nox -s deploy` makes the environment for this.
"""

from __future__ import annotations

import copy
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dbtools import errors  # noqa: E402 - found through the line above

if TYPE_CHECKING:
    from collections.abc import Iterator

KUBERNETES = ("1.31", "1.34", "1.37")
"""From the first with stable pod failure policies to the newest that the package knows."""
NEVER_AGAIN = {
    kind.exit_code
    for kind in (
        errors.ConfigurationError,
        errors.DatabaseUnreachable,
        errors.ResetRefused,
        errors.VerificationFailed,
    )
}


def manifests() -> dict[str, Any]:
    """Return the manifests: those that the kustomization lists, and those of a load."""
    folder = ROOT / "deploy"
    resources = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["resources"]
    names = [*resources, *sorted(str(path.relative_to(folder)) for path in folder.glob("load/*.yaml"))]
    return {name: yaml.safe_load((folder / name).read_text("utf-8")) for name in names}


def check_schema(manifest: dict[str, Any]) -> None:
    """Hold a manifest to Kubernetes' schemas, unknown keys refused."""
    for version in KUBERNETES:
        kubernetes_validate.validate(manifest, version, strict=True)


def complaints(manifest: dict[str, Any]) -> Iterator[str]:
    """Yield what a manifest says that is not so."""
    job = manifest["spec"].get("jobTemplate", manifest)["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    codes = {
        code for rule in job["podFailurePolicy"]["rules"] for code in rule.get("onExitCodes", {}).get("values", ())
    }
    if codes != NEVER_AGAIN:
        yield f"it never tries {sorted(codes)} again; the errors say {sorted(NEVER_AGAIN)}"
    wait = int(container["args"][container["args"].index("--lock-timeout") + 1])
    if job["activeDeadlineSeconds"] <= wait:
        yield f"it ends after {job['activeDeadlineSeconds']} s, and waits {wait} s for the lock"
    for each in (*pod.get("initContainers", ()), container):
        task, *words = each["args"]
        known = subprocess.run(
            [ROOT / "scripts/dev", "invoke", "--help", task], cwd=ROOT, text=True, capture_output=True, check=False
        ).stdout
        yield from (f"{task} has no {word}" for word in words if word.startswith("--") and f"{word}=" not in known)
        if not each["securityContext"]["readOnlyRootFilesystem"]:
            yield f"{each['name']} may write to its root"


def refusal(schema: str, text: str) -> str:
    """Return what a service's schema has against a CI file, "" for nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(text)
        file.flush()
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, file.name]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def blocks(page: str) -> list[str]:
    """Return the YAML that a page shows."""
    return re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def main() -> None:
    """Check everything; exit with 1 and the complaints where something does not hold."""
    found: list[str] = []
    for name, manifest in manifests().items():
        check_schema(manifest)
        found += [f"deploy/{name}: {text}" for text in complaints(manifest)]
        broken = copy.deepcopy(manifest)
        broken["spec"]["backofLimit"] = 3
        try:
            check_schema(broken)
            found.append("a misspelt key was not seen")
        except kubernetes_validate.ValidationError:
            pass
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    page = (ROOT / "docs/ci.md").read_text("utf-8")
    github, gitlab, race = blocks(page)
    for text in blocks((ROOT / "docs/kubernetes.md").read_text("utf-8")):
        check_schema(yaml.safe_load(text))
    for schema, text in (
        ("vendor.github-workflows", workflow),
        ("vendor.github-workflows", github),
        ("vendor.github-workflows", race),
        ("vendor.gitlab-ci", gitlab),
    ):
        if reason := refusal(schema, text):
            found.append(f"{schema}: {reason}")
    if not refusal("vendor.github-workflows", workflow.replace("runs-on:", "run-on:")):
        found.append("a misspelt key of a workflow was not seen")
    if found:
        sys.exit("\n".join(found))
    print(f"{len(manifests())} manifests and 4 CI files keep to their schemas")


if __name__ == "__main__":
    main()
