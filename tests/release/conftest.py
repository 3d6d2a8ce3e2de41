"""The trained run is the one that tests of training look at."""

from tests.training.conftest import broken, finished, own

__all__ = ["broken", "finished", "own"]
