"""Positions, as the server gives them: by score within a group, whatever else is in the request."""

from __future__ import annotations

import json
import subprocess

from jobs.settings import ROOT

CODE = """
import json
from bentos.places import placed
from bentos.scoring import Prediction
scores, groups = [0.2, 0.9, 0.5, 0.9, 0.7], ["a", "b", "a", "b", "a"]
answers = [Prediction(score, "rank", "r", str(row), "blue", False, (), ()) for row, score in enumerate(scores)]
print(json.dumps([[one.position, one.score, one.request_id] for one in placed(answers, groups, 0)]))
"""


def test_each_group_has_its_own_first_and_equal_scores_keep_their_order():
    python = ROOT / ".venv" / "serve" / "bin" / "python"
    answer = subprocess.run([python, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    position, score, request = zip(*json.loads(answer.stdout), strict=True)
    assert position == (3, 1, 2, 2, 1)
    assert request == ("0", "1", "2", "3", "4")
    assert score == (0.0, 1.0, 0.0, 1.0, 1.0), "rounded after they were ordered"
