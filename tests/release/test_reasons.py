"""What a reviewer is told about a score."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from jobs.errors import SpecError
from jobs.projects.fraud.spec import FRAUD
from jobs.release.reasons import reasons
from jobs.settings import ROOT
from jobs.spec import Reason

MODEL = FRAUD.models[0]


def row(**values: float) -> np.ndarray:
    return np.array([values.get(name, 0.0) for name in MODEL.inputs])


def moved(base: float = -4.0, **contributions: float) -> np.ndarray:
    return np.append(row(**contributions), base)


def test_the_greatest_contributions_are_told_in_words_with_their_direction():
    vector = row(amount=431.5, amount_over_mean_30d=9.31, terminal_risk_7d=0.25, terminal_count_7d=4)
    said = reasons(
        MODEL, vector, moved(amount_over_mean_30d=1.5, terminal_risk_7d=2.0, is_night=-0.75, amount=0.5), n=3
    )
    assert said == [
        {
            "input": "terminal_risk_7d", "value": 0.25, "contribution": 2.0,
            "text": "25% of the 4 payments at the terminal in 7 days, ending a week ago, were fraud (raises the score)",
        },
        {
            "input": "amount_over_mean_30d", "value": 9.31, "contribution": 1.5,
            "text": "the amount is 9.3 times this customer's 30-day mean (raises the score)",
        },
        {"input": "is_night", "value": 0.0, "contribution": -0.75, "text": "not paid at night (lowers the score)"},
    ]  # fmt: skip


def test_an_input_that_moved_nothing_is_no_reason_and_the_base_is_none():
    assert [one["input"] for one in reasons(MODEL, row(), moved(base=-9.0, is_night=0.1), n=5)] == ["is_night"]
    assert reasons(MODEL, row(), moved(), n=5) == []


def test_equal_contributions_keep_the_order_of_the_inputs():
    said = reasons(MODEL, row(), moved(terminal_count_1d=0.5, amount=-0.5, is_night=0.5), n=2)
    assert [one["input"] for one in said] == ["amount", "is_night"]


def test_an_input_without_words_is_told_by_its_name():
    silent = replace(MODEL, reasons=())
    assert reasons(silent, row(customer_count_1d=3), moved(customer_count_1d=1.0))[0]["text"] == (
        "customer count 1d is 3 (raises the score)"
    )


def test_every_input_of_every_model_has_words_that_fit_any_number():
    for value in (0.0, 1.0, 0.123, 12_345.6, -1.0):
        vector = np.full(len(MODEL.inputs), value)
        said = reasons(MODEL, vector, np.ones(len(vector) + 1), n=99)
        assert len(said) == len(MODEL.inputs)
        assert {one["input"] for one in said} == {reason.input for reason in MODEL.reasons}


@pytest.mark.parametrize(
    ("vector", "contributions", "match"),
    [
        (np.zeros(3), np.zeros(len(MODEL.inputs) + 1), "do not fit"),
        (row(), np.zeros(len(MODEL.inputs)), "do not fit"),
        (row(), np.full(len(MODEL.inputs) + 1, np.nan), "not all finite"),
    ],
)
def test_contributions_of_another_shape_or_not_finite_are_refused(vector, contributions, match):
    with pytest.raises(ValueError, match=match):
        reasons(MODEL, vector, contributions)


@pytest.mark.parametrize(
    ("reason", "match"),
    [
        (Reason(input="postcode", text="x"), "about no input"),
        (Reason(input="amount", text="{value.__class__}"), "neither value nor an input"),
        (Reason(input="amount", text="{}"), "neither value nor an input"),
        (Reason(input="amount", text="{value!r}"), "neither value nor an input"),
        (Reason(input="amount", text="{value:d}"), "no format of a number"),
        (Reason(input="amount", text="{value"), "no format of a number"),
        (Reason(input="amount", text="x", zero="{postcode}"), "'postcode', which is neither"),
    ],
)
def test_words_that_could_not_be_said_are_refused_when_declared(reason, match):
    with pytest.raises(SpecError, match=match):
        replace(FRAUD, models=(replace(MODEL, reasons=(reason,)),))


def test_one_input_has_one_reason():
    with pytest.raises(SpecError, match="input 'amount' has two reasons"):
        replace(FRAUD, models=(replace(MODEL, reasons=(Reason(input="amount", text="x"),) * 2),))


def test_serving_can_say_reasons_without_anything_but_numpy():
    serve = ROOT / ".venv" / "serve" / "bin" / "python"
    assert serve.exists(), "the serving environment is missing: run `make environments`"
    code = "import jobs.release.reasons, sys; print(sorted({n.split('.')[0] for n in sys.modules} - sys.stdlib_module_names))"
    for python in (serve, sys.executable):
        answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        loaded = {name for name in eval(answer.stdout) if not name.startswith(("_", "sitecustomize"))}
        assert loaded <= {"jobs", "numpy", "distutils"}, loaded
