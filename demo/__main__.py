"""Runs the demo's steps, shows their progress, prints what happened and writes it to `var/demo/summary.json`: `python -m demo [PROJECT|all]`."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from demo.context import Context, context_of
from demo.show import addresses, champions, table
from demo.steps import STEPS
from jobs.errors import TidemillError
from jobs.projects import PROJECTS
from jobs.settings import Settings
from jobs.storage import write_atomically

ALWAYS = {"environments", "services"}


class Diary:
    """What steps are done, kept across interrupted and repeated demos."""

    def __init__(self, context: Context) -> None:
        self._path = context.folder / "diary.json"
        self.done: dict[str, dict[str, Any]] = json.loads(self._path.read_bytes()) if self._path.exists() else {}

    def add(self, name: str, facts: dict[str, Any], seconds: float) -> None:
        """Remembers a step as done."""
        self.done[name] = {
            "facts": facts,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "took": round(seconds, 1),
        }
        write_atomically(self._path, json.dumps(self.done, default=str).encode())


def main(arguments: list[str]) -> int:
    """Runs every step for one project, or for all one after another; 0 only if each happened."""
    asked = arguments[0] if arguments else next(iter(PROJECTS))
    console, began = Console(), time.monotonic()
    found = {name: _demo(name, console) for name in (PROJECTS if asked == "all" else [asked])}
    ok = all(one["ok"] for one in found.values())
    summary: dict[str, Any] = {"ok": ok, "seconds": round(time.monotonic() - began, 1)}
    summary |= {"projects": found} if asked == "all" else {"project": asked, "steps": found[asked]["steps"]}
    path = Settings.load().home / "demo" / "summary.json"
    write_atomically(path, json.dumps(summary, indent=1, default=str).encode())
    console.print(f"{summary['seconds']:.0f} s in all; the same as data: {path}", highlight=False)
    return 0 if ok else 1


def _demo(name: str, console: Console) -> dict[str, Any]:
    """What became of the project's steps, up to the first that failed."""
    with console.status("") as status:

        def say(text: str) -> None:
            status.update(f"  {text}")

        context = context_of(name, say)
        console.print(f"[bold]{context.project.title}[/]")
        diary, steps = Diary(context), []
        for number, step in enumerate(STEPS, 1):
            entry = _run(step.__name__, step, context, diary)
            steps.append(entry)
            mark = "[green]done[/]  " if entry["ok"] else "[red]failed[/]"
            note = f"  {entry['note']}" if "note" in entry else ""
            console.print(
                f"{number:>2}/{len(STEPS)} {mark} {step.__name__:<17} {entry['seconds']:>6.1f} s{note}",
                highlight=False,
                soft_wrap=True,
            )
            if not entry["ok"]:
                break
    ok = len(steps) == len(STEPS) and all(entry["ok"] for entry in steps)
    console.print(table(steps))
    if ok:
        console.print(champions(steps))
        addresses(console, context)
    else:
        console.print(f"[red]Stopped:[/] {steps[-1]['facts'].get('error', '')}", highlight=False)
        console.print(
            f"What was done is kept: `make demo PROJECT={name}` goes on from here, `make clean` starts afresh."
        )
    return {"ok": ok, "steps": steps}


def _run(name: str, step: Any, context: Context, diary: Diary) -> dict[str, Any]:
    began = time.monotonic()
    entry: dict[str, Any] = {"name": name, "ok": True, "seconds": 0.0, "facts": {}}
    if name in diary.done and name not in ALWAYS:
        known = diary.done[name]
        return entry | {"facts": known["facts"], "note": f"already done at {known['at']}, in {known['took']} s"}
    context.say(str(step.__doc__))
    try:
        entry["facts"] = step(context)
        diary.add(name, entry["facts"], time.monotonic() - began)
    except TidemillError as error:
        entry |= {"ok": False, "facts": {"error": f"{type(error).__name__}: {error}"}}
    entry["seconds"] = round(time.monotonic() - began, 1)
    return entry


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except TidemillError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("\nInterrupted; what was done is kept: `make demo` goes on from here.", file=sys.stderr)
        sys.exit(130)
