"""`make lint`'s part for Terraform: format and validity, or a line that says why it was not looked at."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.infra.terraform import SOURCE, Terraform, configure

ROOTS = ("state", "envs/local", "envs/staging", "envs/production")


def main() -> int:
    """The exit code: 0 when all is well, or could not be looked at."""
    if shutil.which("terraform") is None:
        print("infra/terraform was not checked: no `terraform` on PATH")
        return 0
    formatted = Terraform(SOURCE, ".").run("fmt", "-check", "-recursive", "-diff", "-no-color")
    if formatted.code:
        print(f"{formatted.text}\nrun `terraform fmt -recursive infra/terraform`")
        return 1
    with tempfile.TemporaryDirectory(prefix="tidemill-terraform-") as folder:
        tree = Path(folder) / "terraform"
        shutil.copytree(SOURCE, tree, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        found = configure(Path(folder))
        for root in ROOTS:
            terraform = Terraform(tree, root, found)
            ready = terraform.run("init", "-input=false", "-no-color", "-backend=false")
            if ready.code:
                print(
                    f"infra/terraform is formatted; it was not validated, for want of its provider: {ready.flat[-200:]}"
                )
                return 0
            valid = terraform.run("validate", "-no-color")
            if valid.code:
                print(valid.text)
                return 1
    print("infra/terraform is formatted and valid")
    return 0


if __name__ == "__main__":
    sys.exit(main())
