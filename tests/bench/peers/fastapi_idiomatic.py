"""FastAPI as its tutorial shows it: a pydantic model in, one out, a plain function, uvicorn with one worker."""

from fastapi import FastAPI
from pydantic import create_model

from tests.bench.peers.model import INPUTS, probability

Inputs = create_model("Inputs", **dict.fromkeys(INPUTS, (float, ...)))
Answer = create_model("Answer", probability=(float, ...))
app = FastAPI()


@app.post("/predict")
def predict(inputs: Inputs) -> Answer:  # type: ignore[valid-type]
    """The probability for one set of named inputs."""
    return Answer(probability=probability([getattr(inputs, name) for name in INPUTS]))
