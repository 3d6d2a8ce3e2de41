"""What must hold of every lake and ledger whatever was done to them: swept after every test that injects a fault.

I1, I2  every delivered row is accepted, quarantined or a duplicate, and none is two of them
I4      the epochs of a project's champions are 1, 2, 3 …, and the champion is the last of them
I5      whatever a pointer names is there, whole
I7      of what is kept of a partition, the same inputs gave the same bytes

That only what passed its gates serves (I3), and that no online value moves back (I6), have tests of their own: a lake
does not tell it afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs import storage
from jobs.errors import ServiceError, TamperedError
from jobs.lake import Lake
from jobs.release.ledger import Ledger
from jobs.settings import Settings


def sweep(values: Iterable[Any]) -> list[str]:
    """A sentence for each invariant that does not hold of the homes and ledgers that a test was given."""
    found: list[str] = []
    settings = [one for value in values if isinstance(one := getattr(value, "settings", value), Settings)]
    for root in {Lake(one.lake_uri).folder for one in settings} | {one.home for one in settings}:
        found += of_lake(root)
    for one in settings:
        if one.database_url:
            found += of_ledger(one.need("database_url"))
    return sorted(set(found))


def of_lake(root: Path) -> Iterator[str]:
    """What does not hold of the partitions below a folder."""
    for pointer in root.rglob(storage.POINTER):
        partition = pointer.parent
        if not list(partition.glob("v-*")):
            continue  # a pointer that a test laid down by itself, for Airflow to find
        try:
            published = storage.current(partition)
            assert published is not None
            storage.verify(published)
        except TamperedError as error:
            yield f"I5: {error}"
            continue
        yield from _of_versions(partition)
        if {"delivered", "accepted"} <= published.manifest.facts.keys() and "raw" in partition.parts:
            yield from _of_delivery(published)


def _of_versions(partition: Path) -> Iterator[str]:
    if (partition / storage.AUDIT).exists():
        return  # somebody forced a version, as is done where a file was not what its name says
    made: dict[str, str] = {}
    for manifest in partition.glob(f"v-*/{storage.MANIFEST}"):
        one = storage.Manifest(**json.loads(manifest.read_text()))
        inputs = storage.digest_of(dict(one.inputs))
        if made.setdefault(inputs, one.digest) != one.digest:
            yield f"I7: two versions below {partition} are of the same inputs and differ"


def _of_delivery(raw: storage.Published) -> Iterator[str]:
    facts: Mapping[str, Any] = raw.manifest.facts
    if facts["accepted"] + facts["quarantined"] + facts["duplicates"] != facts["delivered"]:
        yield f"I2: {raw.partition} does not account for every row it was delivered: {facts}"
    rows = _places(raw)
    if len(rows) != facts["accepted"] or len(set(rows)) != len(rows):
        yield f"I1: {raw.partition} holds {len(rows)} rows of {len(set(rows))} places, and states {facts['accepted']}"
    held = storage.current(Path(*("quarantine" if part == "raw" else part for part in raw.partition.parts)))
    if held and (both := set(rows) & set(_places(held))):
        yield f"I1: {sorted(both)[:3]} of {raw.partition} are accepted and quarantined"


def _places(published: storage.Published) -> list[tuple[str, int]]:
    """The file and line of each row."""
    table = pq.read_table(published.paths(), partitioning=None)
    file, line = ("_file", "_line") if "_file" in table.column_names else ("file", "line")
    return list(zip(table[file].to_pylist(), table[line].to_pylist(), strict=True))


def of_ledger(url: str) -> Iterator[str]:
    """What does not hold of a ledger's promotions; nothing is said of one whose database is away, as some tests want it."""
    try:
        with Ledger(url) as ledger:
            projects = [row["project"] for row in ledger._rows("SELECT DISTINCT project FROM tidemill.promotion")]
            for project in projects:
                history, champion = ledger.history(project), ledger.champion(project)
                if [one.epoch for one in history] != list(range(1, len(history) + 1)):
                    yield f"I4: the epochs of {project} are {[one.epoch for one in history]}"
                if champion != history[-1]:
                    yield f"I4: the champion of {project} is {champion}, and the last promoted was {history[-1]}"
    except ServiceError:
        return
