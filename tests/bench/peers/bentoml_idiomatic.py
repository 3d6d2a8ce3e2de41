"""BentoML as its quickstart shows it: a synchronous API with a pydantic model in and one out, nothing set."""

import bentoml
from pydantic import BaseModel, create_model

from tests.bench.peers.model import INPUTS, probability

Inputs = create_model("Inputs", **dict.fromkeys(INPUTS, (float, ...)))


class Answer(BaseModel):
    probability: float


@bentoml.service
class Predictor:
    @bentoml.api
    def predict(self, inputs: Inputs) -> Answer:  # type: ignore[valid-type]
        """The probability for one set of named inputs."""
        return Answer(probability=probability([getattr(inputs, name) for name in INPUTS]))
