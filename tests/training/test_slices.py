"""Groups of rows, each judged by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jobs.errors import SpecError
from jobs.projects.fraud.spec import FRAUD
from jobs.slices import Slice
from jobs.training import plots
from jobs.training.frame import Frame
from jobs.training.slices import groups_of, sliced

MODEL = replace(FRAUD.models[0], inputs=("amount", "is_night"), reasons=())
ROWS = 4_000


def rows_of(amount, is_night, label, **payload) -> Frame:
    count = len(label)
    return Frame(
        event_id=np.array([f"e{index}" for index in range(count)], dtype=object),
        event_time=np.arange(count, dtype=np.int64) * 60_000_000,
        entity=np.arange(count, dtype=np.int64) % 500,
        label=np.asarray(label, dtype=bool),
        vectors=np.column_stack([amount, is_night]).astype(np.float64),
        payload=payload,
    )


@pytest.fixture(scope="module")
def world():
    """Scores that tell positives apart by day and know nothing at night."""
    random = np.random.default_rng(3)
    night, label = random.random(ROWS) < 0.3, random.random(ROWS) < 0.1
    scores = np.where(night, random.random(ROWS), 0.3 * label + 0.5 * random.random(ROWS))
    return rows_of(
        random.exponential(50, ROWS), night, label, country=np.where(night, "NO", "SE").astype(object)
    ), scores


def test_bands_hold_each_number_once_and_an_edge_belongs_to_the_band_above(world):
    one = Slice(name="amount", column="amount", edges=(20.0, 100.0), minimum=0.5)
    rows = rows_of([0, 19.99, 20, 99.9, 100, 1e6], np.zeros(6), np.zeros(6))
    assert {name: np.flatnonzero(mask).tolist() for name, mask in groups_of(one, MODEL, rows)} == {
        "below 20": [0, 1], "20 to 100": [2, 3], "100 and more": [4, 5],
    }  # fmt: skip


def test_values_may_be_of_a_request_column_and_other_rows_are_in_no_group(world):
    rows, _ = world
    one = Slice(name="country", column="country", values=("SE", "DK"), minimum=0.5)
    counts = {name: int(mask.sum()) for name, mask in groups_of(one, MODEL, rows)}
    assert counts == {"SE": int((rows.payload["country"] == "SE").sum()), "DK": 0}


def test_a_model_that_knows_nothing_at_night_shows_it_in_that_group_alone(world):
    rows, scores = world
    one = Slice(name="hour", column="is_night", values=(0, 1), labels=("day", "night"), minimum=0.8)
    found = sliced(MODEL, (one,), rows, scores)["hour"]
    day, night = found["groups"]["day"], found["groups"]["night"]
    assert (found["metric"], found["minimum"]) == ("roc_auc", 0.8)
    assert 0.8 < day["low"] < day["value"] < day["high"]
    assert night["low"] < 0.5 < night["high"] < 0.8
    assert day["rows"] + night["rows"] == ROWS
    assert day["positives"] + night["positives"] == rows.label.sum()
    assert found == sliced(MODEL, (one,), rows, scores)["hour"], "the same rows give the same interval"


@pytest.mark.parametrize(
    ("label", "too_few"),
    [
        ([True] * 20 + [False] * 180, False),
        ([True] * 19 + [False] * 181, True),
        ([True] * 181 + [False] * 19, True),
        ([True] * 20 + [False] * 179, True),
    ],
)
def test_a_group_with_too_few_rows_or_of_either_label_has_no_figures_and_says_so(label, too_few):
    rows = rows_of(np.ones(len(label)), np.zeros(len(label)), label)
    one = Slice(name="hour", column="is_night", values=(0,), minimum=0.8)
    group = sliced(MODEL, (one,), rows, np.linspace(1, 0, len(label)))["hour"]["groups"]["0"]
    assert group["too_few"] is too_few
    assert (group["value"] is None) is too_few
    assert group["rows"] == len(label)


def test_groups_about_a_few_things_with_luck_of_their_own_tell_no_more_than_a_few_things_do():
    random = np.random.default_rng(5)
    ad = random.integers(0, 25, ROWS)
    label = random.random(ROWS) < np.clip(0.2 * np.exp(random.normal(0, 0.8, 25)), 0, 0.9)[ad]
    rows = rows_of(np.ones(ROWS), np.zeros(ROWS), label, ad=ad.astype(str).astype(object))
    scores = np.full(ROWS, 0.2)
    plain = Slice(
        name="new", column="is_night", values=(0,), metric="mean_prediction_ratio", minimum=0.98, maximum=1.02
    )
    found = [sliced(MODEL, (one,), rows, scores)["new"]["groups"]["0"] for one in (plain, replace(plain, by="ad"))]
    widths = [group["high"] - group["low"] for group in found]
    assert found[0]["value"] == found[1]["value"]
    assert widths[1] > 3 * widths[0]


def test_a_column_that_the_frame_lacks_gives_no_group(world):
    rows, scores = world
    one = Slice(name="city", column="city", values=("Oslo",), minimum=0.5)
    assert sliced(MODEL, (one,), rows, scores)["city"]["groups"] == {}


def test_the_picture_is_the_same_bytes_each_time(world, tmp_path):
    rows, scores = world
    one = Slice(name="amount", column="amount", edges=(20.0, 1e9), minimum=0.5)
    found = sliced(MODEL, (one,), rows, scores)
    for name in ("a.png", "b.png"):
        plots.slices(tmp_path / name, found)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("one", "match"),
    [
        (Slice(name="s", column="city", values=(1,), minimum=0.5), "is by 'city', which is neither"),
        (Slice(name="s", column="is_fraud", values=(1,), minimum=0.5), "is by 'is_fraud', which is neither"),
        (Slice(name="s", column="amount", edges=(1.0,), by="city", minimum=0.5), "is about 'city', which is neither"),
        (Slice(name="s", column="amount", minimum=0.5), "either edges or values"),
        (Slice(name="s", column="amount", edges=(1.0,), values=(1,), minimum=0.5), "either edges or values"),
        (Slice(name="s", column="amount", edges=(2.0, 1.0), minimum=0.5), "do not rise"),
        (Slice(name="s", column="amount", values=(1, 1), minimum=0.5), "a value twice"),
        (Slice(name="s", column="amount", edges=(1.0,), labels=("x",), minimum=0.5), "needs as many different labels"),
        (Slice(name="s", column="amount", edges=(1.0,)), "bounds nothing"),
        (Slice(name="s", column="amount", edges=(1.0,), minimum=0.5, minimum_positives=0), "at least 1"),
    ],
)
def test_a_slice_that_could_not_be_judged_is_refused_when_declared(one, match):
    with pytest.raises(SpecError, match=match):
        replace(FRAUD, gate=replace(FRAUD.gate, slices=(one,)))


def test_two_slices_have_two_names():
    one = Slice(name="s", column="amount", edges=(1.0,), minimum=0.5)
    with pytest.raises(SpecError, match="slice 's' is declared twice"):
        replace(FRAUD, gate=replace(FRAUD.gate, slices=(one, one)))
