"""review: answers in; what people should look at, their verdicts as a source's delivery, and how far they agree out."""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.batch import Batches
from jobs.errors import DataRejected, UsageError
from jobs.lake import Lake
from jobs.result import Result
from jobs.review import known
from jobs.review.agreement import Verdict, alpha, kappas
from jobs.review.choice import choose, open_items
from jobs.services.tables import render
from jobs.settings import Settings
from jobs.spec import Project
from jobs.stages import land
from jobs.storage import write_atomically

SHOWN = 20
_NOTHING = 99


def items(project: Project, settings: Settings, *, batches: Batches, reviewer: str, out: Path | None = None) -> Result:
    """The items of some days that a reviewer may still judge; with `out` as CSV with an empty column `verdict`."""
    lake, policy, model = Lake(settings.lake_uri), known.policy_of(project), project.models[-1]
    given, found = known.reviewers_of(known.verdicts(project, lake)), []
    for day in batches:
        served = {one.answer.event_id: one for one in known.answered(project, lake, day)}
        chosen = choose([one.answer for one in served.values()], policy, seed=model.seed + day.toordinal())
        found += [(day, item, served[item.event_id]) for item in open_items(chosen, given, policy, reviewer)]
    rows = [
        {
            project.sources[0].event_id: item.event_id,
            "day": str(day),
            "why": item.why,
            "uncertainty": round(item.uncertainty, 6),
            "chance": item.chance,
            "decision": one.answer.decision,
            "score": one.score,
            "payload": one.payload,
        }
        for day, item, one in found
    ]
    facts: dict[str, Any] = {"reviewer": reviewer, "items": rows, "verdicts": known.said_by(project)}
    counts = Counter(row["why"] for row in rows)
    line = f"review {project.name} {batches}: {len(rows)} items for {reviewer or 'anybody'}"
    line += f" ({', '.join(f'{count} {why}' for why, count in counts.items())})" if rows else ""
    if out:
        _write(out, project, reviewer, rows)
        facts["out"] = str(out)
        line += f", in {out}: fill in `verdict` ({', '.join(facts['verdicts'])}), then `tidemill review import`"
    elif rows:
        table = [(row["day"], row[project.sources[0].event_id], row["why"], f"{row['uncertainty']:.3f}",
                  row["decision"], f"{row['score']:.3f}") for row in rows[:SHOWN]]  # fmt: skip
        line += "\n" + render(("day", "item", "why", "uncertainty", "decision", "score"), table)
    return Result(line=line, facts=facts, exit_code=0 if rows else _NOTHING)


def take(project: Project, settings: Settings, *, file: Path, reviewer: str | None = None) -> Result:
    """Lands the filled-in rows of a CSV as a delivery of the source of verdicts; rows without a verdict are left open.

    `reviewer` is whose they are where the file has no column `reviewer_id`. Raises DataRejected, naming every fault,
    before anything is landed. The same verdicts given again are the same delivery, and nothing happens.
    """
    source, item = known.verdicts_of(project), project.sources[0].event_id
    rows, blank = _read(project, file, reviewer)
    if not rows:
        return Result(
            line=f"review: {file} has no verdict yet ({blank} open)", facts={"open": blank}, exit_code=_NOTHING
        )
    now, known_now = datetime.now(UTC), {one for _, one in known.verdicts(project, Lake(settings.lake_uri))}
    fresh = [one for one in rows if one not in known_now]
    lines = [
        {
            source.event_id: hashlib.sha256("\n".join(one).encode()).hexdigest()[:20],
            source.event_time: now.isoformat(),
            item: one.item,
            "reviewer_id": one.reviewer,
            "verdict": one.verdict,
        }
        for one in fresh
    ]
    facts: dict[str, Any] = {"verdicts": len(fresh), "known": len(rows) - len(fresh), "open": blank}
    facts["counts"] = dict(Counter(one.verdict for one in fresh))
    if fresh:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"review-{now:%Y-%m-%d}-{now:%H%M%S%f}.jsonl"
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            facts["landed"] = dict(land.run(project, settings, files=[path], source=source.name).facts)
    line = f"review: {len(fresh)} verdicts landed in {source.name}, {facts['known']} known before, {blank} still open"
    line += f"; they count once {now:%Y-%m-%d} is ingested" if fresh else ""
    return Result(line=line, facts=facts, exit_code=0 if fresh else _NOTHING)


def agree(project: Project, settings: Settings, *, batches: Batches) -> Result:
    """How far reviewers agree on the verdicts of some days; exit 1 where that is too little to learn from."""
    policy = known.policy_of(project)
    mine = [one for at, one in known.verdicts(project, Lake(settings.lake_uri)) if at.date() in set(batches)]
    whole, each = alpha(mine), kappas(mine)
    facts: dict[str, Any] = {
        "verdicts": len(mine),
        "items": len({one.item for one in mine}),
        "alpha": whole,
        "minimum": policy.minimum_agreement,
        "reviewers": {name: {"kappa": kappa, "pairs": pairs} for name, (kappa, pairs) in each.items()},
    }
    if whole is None:
        line = f"review {project.name} {batches}: no item has two verdicts; agreement is unknown"
        return Result(line=line, facts=facts, exit_code=_NOTHING)
    rows = [(name, "–" if kappa is None else f"{kappa:.3f}", pairs) for name, (kappa, pairs) in each.items()]
    enough = whole >= policy.minimum_agreement
    line = (
        f"review {project.name} {batches}: Krippendorff's alpha {whole:.3f} of {len(mine)} verdicts on {facts['items']} "
        f"items, {'at least' if enough else 'below'} the {policy.minimum_agreement} that is asked for\n"
        + render(("reviewer", "Cohen's kappa with the others", "pairs"), rows)
    )
    return Result(line=line, facts=facts, exit_code=0 if enough else 1)


def _write(out: Path, project: Project, reviewer: str, rows: Sequence[dict[str, Any]]) -> None:
    """A row an item: its id and what a reviewer needs, but neither score nor decision, which would lead them."""
    item = project.sources[0].event_id
    shown = [name for name in (rows[0]["payload"] if rows else {}) if name != item]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([item, "reviewer_id", "verdict", *shown])
            for row in rows:
                writer.writerow([row[item], reviewer, "", *(row["payload"][name] for name in shown)])
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, path.read_bytes())


def _read(project: Project, file: Path, reviewer: str | None) -> tuple[list[Verdict], int]:
    """The verdicts of a file, and how many of its rows have none."""
    if not file.is_file():
        raise UsageError(f"no file at {file}; nothing was landed")
    item, words = project.sources[0].event_id, known.said_by(project)
    with file.open(newline="") as lines:
        reader = csv.DictReader(lines)
        absent = [name for name in (item, "verdict") if name not in (reader.fieldnames or ())]
        if absent:
            raise DataRejected(
                f"{file} has no column {absent[0]!r}; nothing was landed. `tidemill review list --out` has"
            )
        rows = [dict(row) for row in reader]
    faults, found, blank = [], [], 0
    for number, row in enumerate(rows, 2):
        said, who = (row.get("verdict") or "").strip().lower(), (row.get("reviewer_id") or reviewer or "").strip()
        if not said:
            blank += 1
        elif said not in words or not who or not row.get(item):
            why = f"verdict {said[:40]!r} is not one of {', '.join(words)}" if said not in words else "an id is missing"
            faults.append(f"- line {number}: {why}")
        else:
            found.append(Verdict(str(row[item]), who, said))
    if faults:
        raise DataRejected(
            "\n".join([f"{file} was refused; nothing was landed:", *faults[:SHOWN], "Correct it and import it again"])
        )
    return found, blank
