"""What EMR Serverless runs: `emr.py s3://…/answer.json STAGE --project P …`, a `tidemill` command like any other.

EMR tells a job's success, not its exit code; so code and last line are left on S3, where Airflow reads them.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

from jobs import mirror
from jobs.lake import located


class _Both(io.TextIOBase):
    """What is written goes to standard output, and its last line is remembered."""

    def __init__(self) -> None:
        self._out, self._lines = sys.stdout, [""]

    def write(self, text: str) -> int:
        self._lines = ("".join(self._lines) + text)[-20_000:].splitlines(keepends=True) or [""]
        return self._out.write(text)

    def flush(self) -> None:
        self._out.flush()

    @property
    def last(self) -> str:
        return next((line.strip() for line in reversed(self._lines) if line.strip()), "")


def main(answer: str, arguments: list[str]) -> int:
    """Runs the command and leaves its exit code and last line at `answer`; returns what EMR shall call success."""
    from jobs.__main__ import main as command

    out = _Both()
    sys.argv = ["tidemill", *arguments]
    with redirect_stdout(out), redirect_stderr(out):
        try:
            command()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    mirror.write(located(answer), json.dumps({"code": code, "line": out.last}).encode())
    return 0 if code in (0, 99) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
