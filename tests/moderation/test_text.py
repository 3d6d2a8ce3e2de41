"""Posts as inputs: what spelling tricks hide is read, and nothing else decides a text's flags."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from jobs.projects.moderation.features import PIECES, WORDS, normalised, request, rule
from jobs.projects.moderation.simulate import CLASSES, day
from jobs.projects.moderation.spec import MODERATION, WORDING
from jobs.settings import ROOT

DAY = MODERATION.start + timedelta(days=40)
MODEL = MODERATION.models[0]


def inputs(*texts: str, counts: tuple[int, ...] = (0, 0, 0, 0)) -> np.ndarray:
    names = ("count_1h", "count_1d", "known_14d", "harmful_14d")
    author = {name: np.full(len(texts), count) for name, count in zip(names, counts, strict=True)}
    return request({"text": np.array(texts, dtype=object)}, {"author": author})


@pytest.mark.parametrize(
    ("written", "tricks"),
    [
        ("You absolute TURNIP", 0),
        ("you absolute t.u.r.n.i.p", 1),
        ("you absolute tuuuurnip", 1),
        ("you absolute turn1p", 1),
        ("you ab$olute 7urn1p", 3),
        ("you absolute tur\u200bnip", 1),
        ("you absolute tu\u00adrnip", 1),
        ("you absolute tüŕnip", 0),
        ("you absolute turnіp", 1),
        ("you&nbsp;absolute turnip", 0),
    ],
)
def test_tricks_of_spelling_are_undone_and_counted(written: str, tricks: int) -> None:
    read, counted = normalised(written)
    assert read.replace("\xa0", " ") == "you absolute turnip"
    assert counted == tricks
    assert (inputs(written)[0, -WORDING.numbers :] == inputs("you absolute turnip")[0, -WORDING.numbers :]).all()


@pytest.mark.parametrize(
    "text", ["in 2024 I rode 10 km at 4 o'clock", "мы говорим по-русски", "e.g. this, that", "see a.b"]
)
def test_honest_spelling_is_left_as_it_is(text: str) -> None:
    assert normalised(text)[1] == 0


def test_a_text_without_words_and_a_very_long_one_have_inputs() -> None:
    odd = inputs("!", "…", "a" * 2_000, "\u200b", "@ # $ %")
    assert odd.shape == (5, len(MODEL.inputs))
    assert np.isfinite(odd).all()
    assert (odd[:, -WORDING.numbers :] < 2**48).all()


def test_the_declared_flags_are_those_that_the_transform_sets() -> None:
    assert WORDING.numbers == WORDS + PIECES


def test_the_history_of_an_author_is_a_share_of_what_is_known() -> None:
    assert inputs("hello", counts=(1, 2, 4, 3))[0, 6:10].tolist() == [1, 2, 4, 0.75]
    assert inputs("hello", counts=(1, 2, 0, 0))[0, 6:10].tolist() == [1, 2, 0, 0]


def test_the_rule_holds_back_a_post_of_many_links() -> None:
    texts = ["see https://a.example", "https://a.example http://b.example www.c.example", "no link"]
    assert rule({"text": np.array(texts, dtype=object)}).tolist() == [False, True, False]


def test_verdicts_are_counted_as_the_models_classes() -> None:
    sql = (ROOT / "dbt/models/staging/moderation/stg_moderation__verdicts.sql").read_text()
    assert MODEL.classes == CLASSES
    assert [sql.index(f"when '{name}' then {place}") for place, name in enumerate(CLASSES)]


def test_after_the_shift_harm_evades_and_normalisation_still_reads_most_of_it() -> None:
    plain, evading = (day(DAY, 1, shifted)["posts"]["text"].to_pylist() for shifted in (None, DAY))
    tricks = [np.mean([normalised(text)[1] > 0 for text in texts]) for texts in (plain, evading)]
    assert tricks[0] < 0.05
    assert tricks[1] > 0.12
    words = set(" ".join(plain).lower().split())
    found = [
        np.mean([word in words for text in evading for word in form(text).split()])
        for form in (str, lambda one: normalised(one)[0])
    ]
    assert found[1] > found[0] + 0.03


def test_gardeners_talk_of_what_others_are_called() -> None:
    posts = day(DAY, 1)["posts"].to_pylist()
    garden = [post["text"].lower() for post in posts if post["community"] == "garden"]
    assert sum("turnip" in text and "you" not in text for text in garden) > 10
