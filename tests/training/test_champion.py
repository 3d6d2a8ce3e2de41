"""A champion that takes other inputs than are made today is still compared, or refused with a way out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.lake import Lake
from jobs.release.ledger import Champion, Ledger
from jobs.release.scorer import Scorer
from jobs.spec import Threshold
from jobs.stages import evaluate, gate, train
from jobs.storage import publish
from jobs.training.champion import STORED_ROWS, rival
from jobs.training.frame import frame_of
from tests.training.synthetic import PLAN, frame, publish_snapshot

DAYS = PLAN.final.test


class Reigning:
    """A release as champion, and a function that asks for its scores of another frame."""

    def __init__(self, trained, lake):
        self.project, self.gate, self.lake = trained.project, trained.project.gate, lake
        self.folder = lake.release(trained.project.name, trained.challenger.release)
        self.champion = Champion(
            epoch=1, release=trained.challenger.release, digest=trained.challenger.digest, at=datetime.now(UTC)
        )

    @property
    def inputs(self):
        return self.project.models[0].inputs

    @property
    def manifest(self):
        return json.loads((self.folder / "manifest.json").read_bytes())

    def ask(self, table=None, **model):
        model = replace(self.project.models[0], **model)
        project = replace(self.project, models=(model,), gate=self.gate)
        known = frame_of(project, model, PLAN, frame() if table is None else table, "here")
        test = known.of("test")
        return test, rival(project, model, known.rows, test, DAYS, self.champion, self.lake)


@pytest.fixture
def reigning(finished, tmp_path):
    """The finished run's release as champion, in a lake of the test's own."""
    found = Reigning(finished, Lake(str(tmp_path)))
    shutil.copytree(finished.bundle, found.folder)
    return found


def own_scores(reigning, test, inputs):
    vectors = test.vectors[:, [inputs.index(name) for name in reigning.manifest["models"][0]["inputs"]]]
    return Scorer.load(reigning.folder, reigning.manifest).score(vectors)


def with_input(table, name, values):
    return table.append_column(name, pa.array(values))


def with_amounts(table, times):
    place = table.column_names.index("amount")
    return table.set_column(place, "amount", pa.array(np.asarray(table["amount"]) * times))


def log(reigning, test, *, scores, release=None, degraded=False):
    """A delivery of the prediction log that answers these rows."""
    count = len(test)

    def write(folder):
        columns = {
            "request_id": [f"q{row}" for row in range(count)],
            "event_id": list(test.event_id),
            "event_time": pa.array(test.event_time, pa.timestamp("us", tz="UTC")),
            "served_at": pa.array(test.event_time + 1, pa.timestamp("us", tz="UTC")),
            "release": [release or reigning.champion.release] * count,
            "score": scores,
            "degraded": [degraded] * count,
        }
        pq.write_table(pa.table(columns), folder / "part-00000.parquet")
        return count

    day = DAYS.last + timedelta(days=1)
    partition = reigning.lake.raw(reigning.project.name, "predictions", day)
    publish(partition, write, inputs={"rows": f"{release} {degraded} {count}"}, watermark=str(day))


def test_a_champion_of_the_present_contract_scores_the_hold_out(reigning):
    test, found = reigning.ask()
    assert found.document["how"] == "its contract is the present one"
    assert found.rows.all()
    assert (found.scores == own_scores(reigning, test, reigning.inputs)).all()


def test_a_new_input_and_another_order_do_no_harm_while_the_old_ones_have_the_same_bits(reigning):
    inputs = reigning.inputs
    others = ("novel", *reversed(inputs))
    test, found = reigning.ask(with_input(frame(), "novel", np.arange(len(frame()), dtype=float)), inputs=others)
    assert found.document["how"] == (
        "each of its inputs is as it was in all 1,000 of its stored events that are in this run's frame"
    )
    assert found.rows.all()
    assert (found.scores == own_scores(reigning, test, list(others))).all()


def test_edited_code_that_makes_the_same_values_does_no_harm(reigning, monkeypatch):
    monkeypatch.setattr("jobs.training.champion.same_contract", lambda *_: False)
    assert "as it was in all 1,000" in reigning.ask()[1].document["how"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ("amounts", "its input 'amount' is made otherwise in 1,000 of 1,000 stored events"),
        ("one", "its input 'amount' is made otherwise in 1 of 1,000 stored events"),
        ("gone", "its input 'amount' is not declared any more"),
        ("events", f"only {STORED_ROWS - 1} of the 1,000 events it stored are in this run's frame"),
    ],
)
def test_inputs_that_are_not_as_they_were_are_named_and_the_way_out_as_well(reigning, monkeypatch, changed, why):
    table, inputs = frame(), reigning.inputs
    monkeypatch.setattr("jobs.training.champion.same_contract", lambda *_: False)
    stored = json.loads((reigning.folder / "parity.json").read_bytes())["models"]["fraud"]["event_ids"]
    ids = np.asarray(table["event_id"].to_pylist(), dtype=object)
    model = {}
    if changed == "amounts":
        table = with_amounts(table, 1 + 1e-9)
    elif changed == "one":
        table = with_amounts(table, np.where(ids == stored[7], 1 + 1e-9, 1.0))
    elif changed == "gone":
        reigning.gate = replace(reigning.gate, slices=())
        left = tuple(name for name in inputs if name != "amount")
        model = {"inputs": left, "reasons": (), "increasing": ()}
    else:
        kept = np.isin(ids, stored[: STORED_ROWS - 1])
        renamed = [name if keep else f"other-{name}" for name, keep in zip(ids, kept, strict=True)]
        table = table.set_column(table.column_names.index("event_id"), "event_id", pa.array(renamed))
    _, found = reigning.ask(table, **model)
    assert found.scores is None
    assert found.document["refused"].startswith(why)
    assert "tidemill snapshot --project fraud --run NEW --as-of DAY" in found.document["refused"]


def test_what_it_answered_when_the_events_happened_counts_if_there_is_enough_of_it(reigning):
    other = {"inputs": reigning.inputs[::-1]}
    table = with_amounts(frame(), 100.0)
    test, _ = reigning.ask(table, **other)
    answered = test.where(np.arange(len(test)) % 4 > 0)
    log(reigning, answered, scores=np.linspace(0, 1, len(answered)))
    _, found = reigning.ask(table, **other)
    assert "it is compared on the" in found.document["how"]
    assert found.rows.sum() == len(answered)
    assert (found.scores == np.linspace(0, 1, len(answered))).all()
    reigning.gate = replace(reigning.gate, minimum_rows=len(answered) + 1)
    assert (
        f"scored only {len(answered):,} of the hold-out's rows" in reigning.ask(table, **other)[1].document["refused"]
    )


@pytest.mark.parametrize("told", [{"release": "r-another"}, {"degraded": True}])
def test_answers_of_another_release_and_answers_from_defaults_do_not_count(reigning, told):
    table, other = with_amounts(frame(), 100.0), {"inputs": reigning.inputs[::-1]}
    test, _ = reigning.ask(table, **other)
    log(reigning, test, scores=np.zeros(len(test)), **told)
    assert "scored only 0 of the hold-out's rows" in reigning.ask(table, **other)[1].document["refused"]


def test_a_champion_whose_bytes_were_changed_is_not_compared(reigning):
    (reigning.folder / "parity.json").write_text("{}")
    _, found = reigning.ask()
    assert found.scores is None
    assert "parity.json is refused" in found.document["refused"]


def test_a_run_with_an_input_in_other_units_is_refused_until_the_champion_has_answered_its_hold_out(broken):
    """Through the stages: amounts in cents where the champion takes whole units, and inputs in another order."""
    reigning, settings = Reigning(broken, Lake(broken.settings.lake_uri)), broken.settings
    name = reigning.project.name
    slices = tuple(one for one in reigning.gate.slices if one.column != "amount")
    thresholds = (Threshold(metric="average_precision", allowed_regression=0.05),)
    project = replace(
        reigning.project,
        models=(replace(reigning.project.models[0], inputs=tuple(reversed(reigning.inputs))),),
        gate=replace(reigning.gate, slices=slices, thresholds=thresholds),
    )
    with Ledger(settings.need("database_url")) as ledger:
        ledger.promote(name, 0, reigning.champion.release, reigning.champion.digest)
    publish_snapshot(settings, "cents", with_amounts(frame(), 100.0))
    train.run(project, settings, run="cents")
    evaluate.run(project, settings, run="cents")
    refused = gate.run(project, settings, run="cents")
    assert refused.exit_code == 1
    assert "the champion could not be measured: its input 'amount' is made otherwise in 1,000 of 1,000" in refused.line
    assert "tidemill snapshot" in refused.line
    test = frame_of(reigning.project, reigning.project.models[0], PLAN, frame(), "here").of("test")
    log(reigning, test, scores=own_scores(reigning, test, reigning.inputs))
    found = evaluate.run(project, settings, run="cents").facts["models"][name]
    assert found["champion"]["rows"] == found["rows"]
    verdict = gate.run(project, settings, run="cents")
    assert verdict.exit_code == 0, verdict.line
    compared = [check for check in verdict.facts["checks"] if check["name"].endswith("against the champion")]
    assert [check["samples"]["rows"] for check in compared] == [found["rows"]]
