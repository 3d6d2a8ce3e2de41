"""Tests of faults, run once more with the guard taken away: each has to fail, or it could not see its fault."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from jobs import storage
from jobs.errors import StaleEpochError
from jobs.features import inputs
from jobs.ingest import rows, texts
from jobs.ingest.columns import Typed
from jobs.release import bundle
from jobs.release.checks import Check, State
from jobs.release.ledger import Ledger
from jobs.rollout import steps
from jobs.stages import land, request_retrain
from jobs.training import frame
from tests.data.test_full_disk import disk
from tests.data.test_full_disk import settings as settings_on_disk
from tests.faults.registry import marked
from tests.monitoring.conftest import champion, ledger_url, project, settings
from tests.release.test_names_that_leave import bundle as release_bundle
from tests.release.test_names_that_leave import made

__all__ = ["champion", "disk", "ledger_url", "made", "project", "release_bundle", "settings", "settings_on_disk"]


@dataclass(frozen=True, kw_only=True)
class Control:
    """A test and the guard it has to miss."""

    fault: str
    test: str
    """Its module below `tests`, and its name."""
    guard: tuple[Any, str, Any]
    """What holds the guard, the guard's name, and what stands in its place."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Its parameters; a fixture by the name of another is `fixture:NAME`."""


def keep_all(_source: Any, table: pa.Table, result: Any) -> None:
    result.accepted = table


def guess(naive: pa.Array, time_zone: str) -> Typed:
    first = pc.assume_timezone(naive, time_zone, ambiguous="earliest", nonexistent="earliest")
    return Typed(values=first.cast(pa.timestamp("us", "UTC")), faults=[(np.zeros(len(naive), dtype=np.bool_), "")])


def promote_over(ledger: Ledger, project: str, _seen: int, release: str, digest: str) -> Any:
    while True:
        now = ledger.champion(project)
        try:
            return PROMOTE(ledger, project, now.epoch if now else 0, release, digest)
        except StaleEpochError:
            continue


PROMOTE = Ledger.promote
FINE = Check(name="measured", state=State.PASSED, detail="")
EARLY = {"changes": {"event_time": "2026-01-11T00:00:00Z"}, "column": "event_time", "reason": "future event"}
NEVER = {"time_zone": "Europe/Zurich", "time": "2026-03-29T02:00:00", "shown": "never", "form": "csv"}
CONTROLS = (
    Control(fault="F10", test="data.test_storage:test_an_older_backfill_is_refused_unless_forced_and_audited",
            guard=(storage, "_refuse_stale", lambda *_: None)),
    Control(fault="F14", test="data.test_full_disk:test_a_full_disk_leaves_the_old_version_and_nothing_else",
            guard=(storage.shutil, "rmtree", lambda *_, **__: None), given={"settings": "fixture:settings_on_disk"}),
    Control(fault="F18", test="monitoring.test_labels_and_retraining:test_fifty_days_of_drift_ask_for_one_training_each_cool_down",
            guard=(request_retrain, "_recent", lambda *_: "")),
    Control(fault="F21", test="data.test_ingest:test_bytes_that_changed_in_the_landing_zone_are_not_taken",
            guard=(rows, "is_intact", lambda *_: True)),
    Control(fault="F21", test="data.test_bombs_and_flips:test_a_published_file_of_which_one_bit_changed_is_computed_from_by_nobody",
            guard=(inputs, "verify", lambda _: None), given={"zone": "clean after it"}),
    Control(fault="F25", test="data.test_ingest:test_a_copy_is_counted_but_not_taken_again",
            guard=(land, "known_contents", lambda *_: {})),
    Control(fault="F26", test="data.test_ingest:test_equal_events_are_kept_once_and_of_different_ones_the_latest",
            guard=(rows, "_deduplicate", keep_all)),
    Control(fault="F28", test="data.test_ingest:test_a_bad_value_costs_its_own_row_only",
            guard=(rows, "_misdated", lambda *_: []), given=EARLY),
    Control(fault="F29", test="data.test_time_zones:test_a_local_time_that_clocks_showed_twice_or_never_is_quarantined_and_not_guessed",
            guard=(texts, "localised", guess), given=NEVER),
    Control(fault="F34", test="training.test_frame:test_one_value_of_any_kind_is_refused_or_learned_from_as_it_is",
            guard=(frame, "_input_faults", lambda *_: [])),
    Control(fault="F48", test="release.test_names_that_leave:test_a_name_that_leaves_its_folder_is_refused_and_nothing_outside_is_touched",
            guard=(bundle, "_allowed", lambda _: True), given={"name": "../outside.json", "bundle": "fixture:release_bundle"}),
    Control(fault="F49", test="release.test_ledger:test_of_fifty_racing_promotions_exactly_one_wins_each_epoch",
            guard=(Ledger, "promote", promote_over), given={"url": "fixture:ledger_url"}),
    Control(fault="F53", test="rollout.test_verdict:test_five_requests_hold_and_are_rolled_back_at_the_deadline_and_never_advance",
            guard=(steps.guards, "enough", lambda *_: FINE)),
    Control(fault="F61", test="data.test_ingest:test_a_file_name_that_cannot_be_kept_is_refused_before_anything_is_landed",
            guard=(land, "check_name", lambda _: None), given={"name": "x.duplicate.json"}),
)  # fmt: skip


@pytest.mark.parametrize("control", CONTROLS, ids=lambda one: f"{one.fault}-{one.guard[1]}")
def test_without_its_guard_a_test_of_a_fault_fails(
    control: Control, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, name = control.test.partition(":")
    test = getattr(importlib.import_module(f"tests.{module}"), name)
    wanted = inspect.signature(test).parameters
    values = {one: control.given.get(one, f"fixture:{one}") for one in wanted}
    values = {
        one: request.getfixturevalue(value.partition(":")[2]) if str(value).startswith("fixture:") else value
        for one, value in values.items()
    }
    monkeypatch.setattr(*control.guard)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(**values)


def test_ten_faults_at_least_have_a_control_and_each_is_of_a_marked_test() -> None:
    assert len({control.fault for control in CONTROLS}) >= 10
    places = {fault: "\n".join(found) for fault, found in marked().items()}
    for control in CONTROLS:
        assert control.test.partition(":")[0].replace(".", "/") in places[control.fault], control.test
