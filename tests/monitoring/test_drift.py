"""Drift: seen when it is there, not when it is not, and never decided on what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.batch import Batches
from jobs.errors import DataRejected
from jobs.lake import Lake, located
from jobs.monitoring.distance import psi
from jobs.monitoring.drift import compare
from jobs.release.bundle import Bundle
from jobs.release.ledger import Ledger
from jobs.settings import Settings
from jobs.spec import Drift, Project
from jobs.stages import drift
from jobs.storage import current
from tests.monitoring.conftest import put

DAY, ONE = date(2026, 2, 4), timedelta(days=1)
Serve = Callable[..., pd.DataFrame]


def days_to(day: date) -> list[date]:
    return [day - timedelta(days=back) for back in (2, 1, 0)]


def result(lake: Lake, project: Project, day: date = DAY) -> dict[str, object]:
    published = current(lake.monitoring(project.name, "drift", day))
    assert published is not None
    found: dict[str, object] = json.loads((published.folder / "result.json").read_text())
    return found


def test_a_known_shift_is_drift_with_a_report_that_opens_offline_and_the_unshifted_is_not(
    project: Project, settings: Settings, lake: Lake, serve: Serve
) -> None:
    for day in days_to(DAY):
        serve(day)
    quiet = drift.run(project, settings, batches=Batches(DAY, DAY))
    assert (quiet.facts["verdict"], quiet.facts["finding"], quiet.exit_code) == ("HOLD", "no drift", 0)
    assert quiet.facts["source"] == "predictions"
    assert max(one["psi"] for one in result(lake, project)["columns"].values()) < 0.05  # type: ignore[attr-defined]

    later = DAY + timedelta(days=7)
    for day in days_to(later):
        serve(day, shift=0.8)
    first = drift.run(project, settings, batches=Batches(later - ONE, later - ONE))
    assert (first.facts["verdict"], first.facts["finding"]) == ("HOLD", "no drift"), "one batch is no persistence"
    assert "columns moved, none yet in 2 of the last 3 batches" in first.line
    loud = drift.run(project, settings, batches=Batches(later, later))
    assert (loud.facts["verdict"], loud.facts["finding"]) == ("RETRAIN", "drift")
    amount = result(lake, project, later)["columns"]["amount"]  # type: ignore[index]
    assert amount["drifted"]
    assert amount["psi"] > amount["threshold"] >= max(project.drift.effect_floor, amount["beyond_chance"])
    assert amount["corrected_p"] < 0.05
    assert amount["samples"] == {"reference": 2_571, "served": 1_800}
    with Ledger(settings.need("database_url")) as ledger:
        newest = ledger.verdicts(project.name, "drift", 1)[0]
    assert (newest.verdict, newest.subject) == ("RETRAIN", str(later))
    assert newest.document["rule"] in project.models[-1].inputs
    fired = {check["name"] for check in newest.document["checks"] if check["state"] == "FAILED"}
    assert {newest.document["rule"], "amount"} <= fired
    assert all(check["samples"] for check in newest.document["checks"])
    html = located(loud.facts["report"]).read_text()
    assert "<script src" not in html
    assert '<link rel="stylesheet" href="http' not in html
    assert "data:image/png;base64," in html
    evidently = located(loud.facts["report"]).with_name("evidently.html").read_text()
    assert "PSI on deciles" in evidently
    assert "<script src" not in evidently
    index = (lake.monitoring(project.name, "drift", DAY).parents[1] / "index.html").read_text()
    assert index.index(str(later)) < index.index(str(DAY))
    for link in (f"drift/batch={later}", f"drift/batch={DAY}"):
        assert link in index

    again = drift.run(project, settings, batches=Batches(DAY, DAY))
    assert again.exit_code == 0
    assert current(lake.monitoring(project.name, "drift", DAY)).epoch == 1  # type: ignore[union-attr]


def test_without_predictions_the_events_of_the_feature_store_are_scored_and_compared(
    project: Project, settings: Settings, lake: Lake, champion: Bundle
) -> None:
    for day in days_to(DAY):
        hours = pd.date_range(str(day), periods=300, freq="4min", tz="UTC")
        events = {"event_id": [f"e-{day}-{row}" for row in range(300)], "event_time": hours, "customer_id": "c-1",
                  "terminal_id": "t-1", "amount_cents": 2_000, "label": False, "label_time": hours,
                  "genuine": 1, "genuine_cents": 2_000, "genuine_day": 20_000, "small_fraud": 0}  # fmt: skip
        put(lake.spine(project.name, day), pd.DataFrame(events), day)
    got = drift.run(project, settings, batches=Batches(DAY, DAY))
    assert (got.facts["source"], got.facts["rows"], got.facts["verdict"]) == ("features", 900, "HOLD")
    assert result(lake, project)["columns"]["amount"]["moved"]  # type: ignore[index]


@pytest.mark.fault("F41")
@pytest.mark.parametrize(
    ("name", "count", "change"),
    [
        ("three rows", 1, None),
        ("all missing", 600, lambda frame: frame.__setitem__("amount", np.nan)),
        ("constant", 600, lambda frame: frame.__setitem__("amount", 5.0)),
    ],
)
def test_what_cannot_be_judged_is_unknown_and_never_drift(
    name: str, count: int, change: Callable[[pd.DataFrame], None] | None,
    project: Project, settings: Settings, lake: Lake, serve: Serve,
) -> None:  # fmt: skip
    for day in days_to(DAY):
        serve(day, count=count, change=change)
    got = drift.run(project, settings, batches=Batches(DAY, DAY))
    assert got.exit_code == 0
    found = result(lake, project)
    assert (found["verdict"], found["finding"]) == ("HOLD", "no drift" if name == "constant" else "unknown")
    if name == "three rows":
        assert "3 served rows, of 500 needed" in str(found["reason"])
        assert "3 served rows" in located(got.facts["report"]).read_text()
    elif name == "all missing":
        assert "amount" not in found["columns"]  # type: ignore[operator]
        assert "amount cannot be judged: 0 served rows have a number" in str(found["reason"])
        assert "amount cannot be judged" in located(got.facts["report"]).read_text()
    else:
        assert found["columns"]["amount"]["moved"]  # type: ignore[index]


def test_a_weekend_is_compared_where_the_reference_is_scored_on_working_days_only(tmp_path: Path) -> None:
    drawn = np.random.default_rng(3)

    def rows(first: str, days: int) -> pd.DataFrame:
        times = pd.date_range(first, periods=days * 400, freq=f"{86_400 // 400}s", tz="UTC")
        return pd.DataFrame(
            {"event_time": times, "amount": drawn.normal(size=len(times)), "score": drawn.random(len(times))}
        )

    reference, weekend = rows("2026-02-02", 21), rows("2026-02-28", 2)
    reference.loc[reference["event_time"] < "2026-02-16", "score"] = np.nan  # learned from
    reference.loc[reference["event_time"].dt.dayofweek >= 5, "score"] = np.nan
    found = compare(
        reference,
        weekend,
        ("amount", "score"),
        Drift(window_days=2, cool_down_days=7, minimum_rows=500),
        tmp_path / "evidently.html",
    )
    assert (found.finding, set(found.columns)) == ("no drift", {"amount", "score"})


def test_nothing_served_and_no_features_is_nothing_to_do(
    project: Project, settings: Settings, lake: Lake, champion: Bundle
) -> None:
    got = drift.run(project, settings, batches=Batches(DAY, DAY))
    assert got.exit_code == 99
    assert current(lake.monitoring(project.name, "drift", DAY)) is None


def test_without_a_champion_there_is_nothing_to_compare_with(project: Project, settings: Settings) -> None:
    assert drift.run(project, settings, batches=Batches(DAY, DAY)).exit_code == 99


@pytest.mark.fault("F30")
@pytest.mark.parametrize("dropped", ["score", "vector", "an input"])
def test_a_dropped_column_is_an_error_and_not_no_drift(
    dropped: str, project: Project, settings: Settings, lake: Lake, serve: Serve
) -> None:
    for day in days_to(DAY):
        log = serve(day, drop=None if dropped == "an input" else dropped)
        if dropped == "an input":
            short = log["vector"].map(lambda text: json.dumps(json.loads(text)[1:]))
            put(lake.raw(project.name, "predictions", day), log.assign(vector=short), day)
    with pytest.raises(DataRejected, match="no verdict was published") as raised:
        drift.run(project, settings, batches=Batches(DAY, DAY))
    assert (f"{len(project.models[0].inputs) - 1} inputs" if dropped == "an input" else repr(dropped)) in str(
        raised.value
    )
    assert current(lake.monitoring(project.name, "drift", DAY)) is None


def test_a_retyped_input_is_an_error(project: Project, settings: Settings, lake: Lake, serve: Serve) -> None:
    for day in days_to(DAY):
        log = serve(day)
        text = log["vector"].map(lambda text: json.dumps(["12.5", *json.loads(text)[1:]]))
        put(lake.raw(project.name, "predictions", day), log.assign(vector=text), day)
    with pytest.raises(DataRejected, match="amount is object, not a number"):
        drift.run(project, settings, batches=Batches(DAY, DAY))


samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60).map(np.array)


@given(samples, samples)
def test_index_is_never_negative_and_nothing_moves_from_itself(one: np.ndarray, other: np.ndarray) -> None:
    assert psi(one, other) >= 0
    assert psi(one, one) == pytest.approx(0)


def test_index_sees_what_equal_bins_do_not() -> None:
    random = np.random.default_rng(3)
    before = random.lognormal(3, 1.5, 20_000)
    assert psi(before, random.lognormal(3, 1.5, 1_500)) < 0.03
    assert psi(before, random.lognormal(3.7, 1.5, 1_500)) > 0.2
    zeros = np.where(random.random(20_000) < 0.97, 0.0, random.random(20_000))
    assert psi(zeros, np.where(random.random(1_500) < 0.97, 0.0, random.random(1_500))) < 0.03
    assert psi(np.zeros(20_000), np.zeros(500)) < 0.02
    assert psi(np.zeros(20_000), np.ones(500)) > 1
    assert np.isnan(psi(np.full(9, np.nan), before))
