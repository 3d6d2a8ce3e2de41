"""Training data that somebody poisoned: what comes of it is refused, with the champion's figures as the reason."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from jobs.batch import day_start
from jobs.errors import GateRejected
from jobs.release.ledger import Ledger
from jobs.stages import evaluate, gate, register, train
from tests.training.synthetic import PLAN, frame, publish_snapshot, small_project

SHARE = 0.05


def changed(table: pa.Table, name: str, values) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def poisoned(how: str) -> pa.Table:
    """The clean frame with 5 % of all rows before the test days changed; the test days are as they were."""
    table, random = frame(), np.random.default_rng(1)
    begins = np.datetime64(day_start(PLAN.final.test.first).replace(tzinfo=None))
    early = np.asarray(table["event_time"]).astype("datetime64[us]") < begins
    hit = early & (random.random(len(table)) < SHARE)
    label = np.asarray(table["label"]).copy()
    if how == "flipped labels":
        return changed(table, "label", np.where(hit, ~label, label))
    hit = early & label  # frauds are under 5 % of the rows, and every one of them is spoilt
    assert hit.mean() < SHARE
    for name in small_project().models[-1].inputs:
        values = np.asarray(table[name]).copy()
        values[hit] = random.choice([-1.0, 1.0], int(hit.sum())) * 10.0 ** random.uniform(6, 30, int(hit.sum()))
        table = changed(table, name, values)
    return table


@pytest.mark.fault("F43")
@pytest.mark.parametrize("how", ["flipped labels", "extreme outliers"])
def test_a_model_of_poisoned_days_is_worse_than_the_champion_on_the_same_hold_out(broken, how):
    project, settings = broken.project, broken.settings
    with Ledger(settings.need("database_url")) as ledger:
        ledger.promote(project.name, 0, broken.challenger.release, broken.challenger.digest)
    publish_snapshot(settings, "poisoned", poisoned(how))
    for stage in (train, evaluate):
        assert stage.run(small_project(), settings, run="poisoned").exit_code == 0
    result = gate.run(small_project(), settings, run="poisoned")
    assert (result.exit_code, result.facts["verdict"]) == (1, "REJECT")
    reasons = {check["name"]: check for check in result.facts["checks"] if not check["passed"]}
    against = reasons["fraud: average_precision against the champion"]
    assert against["low"] <= against["value"] < 0
    assert against["low"] < against["bound"]
    assert "average_precision against the champion" in result.line
    with pytest.raises(GateRejected, match="its verdict is REJECT"):
        register.run(small_project(), settings, run="poisoned")
    with Ledger(settings.need("database_url")) as ledger:
        assert ledger.champion(project.name).release == broken.challenger.release
        assert ledger.verdicts(project.name, "gate", limit=1)[0].verdict == "REJECT"
