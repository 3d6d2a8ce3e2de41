"""Great Expectations' pages open without a network, and their index says what held."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from jobs.expectations import Checker


def test_pages_load_nothing_from_elsewhere_and_the_index_says_what_failed(tmp_path: Path) -> None:
    reports = pd.DataFrame(
        {
            "report_id": ["R1", "R1"],
            "reported_at": pd.to_datetime(["2026-01-02T03:00:00Z", "2026-01-02T04:00:00Z"]),
            "transaction_id": ["T1", "T2"],
            "is_fraud": [True, True],
        }
    )
    other = Checker("search", tmp_path)
    other.check("clicks", date(2026, 1, 2), pd.DataFrame({"click_id": ["K1"]}))
    other.build_docs()
    checker = Checker("fraud", tmp_path)
    assert not checker.check("fraud_reports", date(2026, 1, 2), reports).passed
    index = checker.build_docs()
    assert "2026-01-02" in index.read_text()
    assert re.search(r'class="bad">\d of \d hold', index.read_text())
    suites = re.findall(r">(\w+\.\w+)</a>", index.read_text().partition("The suites:")[2].partition("</p>")[0])
    assert suites == ["fraud.fraud_reports", "search.clicks"], "another project's pages stay"
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) >= 3
    for page in pages:
        assert not re.search(r"<(link|script|img)\b[^>]*\b(src|href)=\"https?:", page.read_text()), page


def test_a_day_that_is_judged_again_and_no_longer_shown_leaves_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.expectations._SHOWN", 1)
    for days in ((2,), (2, 3)):
        checker = Checker("search", tmp_path)
        for day in days:
            checker.check("clicks", date(2026, 1, day), pd.DataFrame({"click_id": ["K1"]}))
        index = checker.build_docs()
    assert re.findall(r"2026-01-\d\d(?=<)", index.read_text()) == ["2026-01-03"]
    assert len(list((tmp_path / "validations").rglob("*.html"))) == 1
