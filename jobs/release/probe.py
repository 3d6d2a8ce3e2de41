"""Loads a bundle's models in a process of its own and compares their scores with the stored ones.

Run as `python -m jobs.release.probe FOLDER`; exit code 0 means every model loads and agrees.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TOLERANCE = 1e-6


def main(folder: Path) -> int:
    """0 when every model scores its stored vectors as stored, else 1 with a line on stderr."""
    import numpy as np

    from jobs.release.probability import score_of
    from jobs.release.scorer import FEW_ROWS, Scorer

    manifest = json.loads((folder / "manifest.json").read_bytes())
    stored = json.loads((folder / "parity.json").read_bytes())["models"] if (folder / "parity.json").exists() else {}
    for model in manifest["models"]:
        scorer = Scorer.load(folder, manifest, model["name"])
        parity = stored.get(model["name"], {"vectors": [[0.0] * len(model["inputs"])], "scores": None})
        vectors = np.asarray(parity["vectors"], dtype=np.float64)
        few = np.concatenate([scorer.score(part) for part in (vectors[:1], vectors[1:FEW_ROWS])])
        scores = scorer.score(vectors)
        expected = scores if parity["scores"] is None else np.asarray(parity["scores"])
        furthest = max(np.abs(scores - expected).max(), np.abs(few - expected[: len(few)]).max())
        if not furthest <= TOLERANCE or not ((score_of(scores) >= 0) & (score_of(scores) <= 1)).all():
            print(f"model {model['name']} scores {furthest:.3g} away from what was stored", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
