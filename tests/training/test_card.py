"""The model card of a real run: complete, and well-formed Markdown."""

from __future__ import annotations

import copy
import json
import re

import pytest
from markdown_it import MarkdownIt

from jobs.storage import current
from jobs.training.candidates import read_training
from jobs.training.card import card, timing
from jobs.training.costs import read_times


@pytest.fixture(scope="module")
def written(finished) -> str:
    return (finished.bundle / "fraud-card.md").read_text()


@pytest.fixture(scope="module")
def evaluation(finished) -> dict:
    return json.loads((current(finished.run / "evaluation").folder / "evaluation.json").read_bytes())


def tables(text: str) -> list[list[int]]:
    """How many cells each line of each table has; the second line is the one that makes it a table."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    found = [[line.strip().count("|") - 1 for line in block.splitlines()] for block in blocks]
    shown = sum(token.type == "table_open" for token in MarkdownIt("commonmark").enable("table").parse(text))
    assert shown == len(blocks), "a table that a reader of Markdown does not recognise is shown as text"
    return found


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}")[2].partition("\n## ")[0]


def test_every_table_is_one_and_nothing_is_left_undefined(written, evaluation):
    assert len(tables(written)) >= 7
    for rows in tables(written):
        assert len(rows) > 2
        assert len(set(rows)) == 1
    assert not re.search(r"\b(None|nan|inf|undefined)\b|[{}]", written)


def test_it_says_from_and_on_what_days_and_how_good_with_intervals(written, evaluation, finished):
    found = evaluation["models"]["fraud"]
    first, last = found["days"]["batches"]["test"]
    assert f"| tested on | {first} to {last} | {found['rows']:,} | {found['positives']:,} |" in written
    low, high = (found["intervals"]["average_precision"][end] for end in ("low", "high"))
    assert f"{found['challenger']['average_precision']:.4f}, 95 % interval {low:.4f} to {high:.4f}" in written
    rule = found["differences"]["rule"]["average_precision"]
    assert f"average_precision minus that of rule: {rule['difference']:+.4f}" in written
    entry = json.loads((finished.bundle / "manifest.json").read_bytes())["models"][0]
    assert f"Method: {entry['calibration']['method']}, on" in written


def test_every_slice_and_input_has_its_row(written, evaluation, finished):
    found, slices = evaluation["models"]["fraud"], section(written, "Slices")
    for one in finished.project.gate.slices:
        for group in one.groups:
            assert f"| {one.name} | {group} |" in slices
    assert "too few to judge" in slices
    costs = section(written, "Inputs")
    for name in finished.project.models[0].inputs:
        loss = found["costs"]["worth"]["inputs"][name]["loss"]
        assert re.search(rf"\| `{name}` \| .* \| {re.escape(f'{loss:+.4f}')} \|", costs)
    contributions = section(written, "What moves the score")
    assert "| hour: night | `" in contributions
    assert 'the amount is …"' in contributions, "a reason's words, without its number"


def test_a_champion_is_shown_as_it_was_compared_or_why_not(finished, evaluation):
    project, model = finished.project, finished.project.models[0]
    picked = evaluation["models"]["fraud"]["picked"]
    training = read_training(current(finished.run / "candidates" / "fraud" / picked))
    champion = {"release": "r-1", "digest": "d", "epoch": 1}
    known = copy.deepcopy(evaluation)
    found = known["models"]["fraud"]
    found["champion"] = champion | {"metrics": found["challenger"], "rows": 1_200, "positives": 30, "how": "a way"}
    found["differences"]["champion"] = found["differences"]["rule"]
    text = card(project, model, known, training)
    assert "| champion r-1 |" in text
    assert "The champion was compared on 1,200 events: a way." in text
    found["champion"] = champion | {"refused": "its input 'x' is gone"}
    del found["differences"]["champion"]
    text = card(project, model, known, training)
    assert "The champion could not be compared: its input 'x' is gone." in text
    assert "| champion r-1 |" not in text


def test_the_times_are_a_part_of_their_own_that_no_release_holds(finished, written):
    model = finished.project.models[0]
    text = timing(model, read_times(finished.run / "costs", model))
    assert [len(rows) for rows in tables(text)] == [len(model.inputs) + 2]
    assert re.search(r"\| `customer_count_30d` \| \d+\.\d \|", text)
    assert "µs" in text
    assert "µs" not in written
