"""BentoML tuned without leaving its API: an async method, plain types, and what costs most switched off."""

import gc

import bentoml

from bentos.options import OPTIONS
from tests.bench.peers.model import probability


@bentoml.service(**OPTIONS)
class Predictor:
    def __init__(self) -> None:
        gc.collect()
        gc.freeze()

    @bentoml.api
    async def predict(self, vector: list[float]) -> float:
        """The probability for one vector."""
        return probability(vector)
