"""What every list keeps to, whatever its candidates are."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.policies import Rule
from jobs.retrieval.lists import allowed_by, listed

whole = st.integers(-3, 3)


@st.composite
def asked(draw):
    count = draw(st.integers(0, 12))
    several = st.lists(whole, min_size=count, max_size=count)
    scores = np.array(draw(several), dtype=np.float64) / 3
    vectors = np.array([draw(st.lists(whole, min_size=2, max_size=2)) for _ in range(count)], dtype=np.float64)
    columns = {name: np.array(draw(several), dtype=np.int64) for name in ("topic", "age")}
    rules = [
        Rule(column="age", minimum=draw(st.none() | whole), maximum=draw(st.none() | whole)),
        Rule(column="topic", at_most=draw(st.none() | st.integers(1, 3))),
    ]
    return scores, vectors.reshape(count, 2), columns, rules, draw(st.integers(0, 8)), draw(st.floats(0, 1))


@given(asked())
def test_a_list_keeps_to_every_rule_and_names_no_item_twice(given_):
    scores, vectors, columns, rules, length, diversity = given_
    found = listed(scores, vectors, columns, rules, length=length, diversity=diversity)
    assert len(found) == len(set(found)) <= length
    age, topic = rules
    for place in found:
        assert age.minimum is None or columns["age"][place] >= age.minimum
        assert age.maximum is None or columns["age"][place] <= age.maximum
    if topic.at_most is not None:
        assert max(Counter(columns["topic"][found].tolist()).values(), default=0) <= topic.at_most


@given(asked())
def test_a_list_is_only_short_where_the_rules_leave_nothing_more(given_):
    scores, vectors, columns, rules, length, diversity = given_
    found = listed(scores, vectors, columns, rules, length=length, diversity=diversity)
    left = [place for place in np.flatnonzero(allowed_by(rules[0], columns)).tolist() if place not in found]
    topics = Counter(columns["topic"][found].tolist())
    more = [place for place in left if rules[1].at_most is None or topics[columns["topic"][place]] < rules[1].at_most]
    assert len(found) == length or not more


@given(asked())
def test_without_diversity_a_list_is_in_the_order_of_the_scores_and_starts_with_the_best_allowed(given_):
    scores, vectors, columns, rules, length, _ = given_
    found = listed(scores, vectors, columns, rules, length=length, diversity=0.0)
    assert found == sorted(found, key=lambda place: -scores[place])
    allowed = allowed_by(rules[0], columns)
    if found:
        assert scores[found[0]] == scores[allowed].max()


def test_diversity_puts_what_is_unlike_the_first_before_its_like():
    scores, vectors = np.array([1.0, 0.9, 0.5]), np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    assert listed(scores, vectors, {}, [], length=3, diversity=0.0) == [0, 1, 2]
    assert listed(scores, vectors, {}, [], length=3, diversity=0.5) == [0, 2, 1]
