"""What tests of training and of releases share."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.settings import Settings
from tests.training.runs import Trained, home_of, trained
from tests.training.synthetic import own_database


@pytest.fixture(scope="session")
def finished(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run that became the challenger; look, but do not touch."""
    return trained(postgres, tmp_path_factory.getbasetemp() / "finished-run")


@pytest.fixture
def broken(finished: Trained, postgres: str, tmp_path: Path) -> Trained:
    """A copy of it that a test may break."""
    return finished.copied(tmp_path / "home", postgres)


@pytest.fixture
def own(tmp_path: Path, postgres: str) -> Settings:
    """An empty home with a ledger."""
    return own_database(home_of(tmp_path / "home"), postgres)
