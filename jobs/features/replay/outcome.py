"""What a replay came to: counts and shares of each input and of whole vectors, and examples of each cause."""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.features.replay.causes import CAUSES, NONE, UNKNOWN, of_vectors
from jobs.features.replay.compare import Replayed
from jobs.features.replay.log import counters_of

HOLDS, SKEWED = "holds", "skewed"
_EXAMPLES = 3
_MASKED = "(personal)"


def outcome(replayed: Replayed, minimum_identical: float) -> dict[str, Any]:
    """Counts and shares, a verdict and examples, ready for JSON; there must be a vector.

    The verdict holds when enough vectors are identical and each of the others has a cause that is known.
    """
    vectors = of_vectors(replayed.causes)
    total, identical = len(vectors), int((vectors == NONE).sum())
    causes = _counted(vectors)
    share = identical / total
    unexplained = causes.get(CAUSES[UNKNOWN], 0)
    verdict = HOLDS if share >= minimum_identical and not unexplained else SKEWED
    return {
        "verdict": verdict,
        "reason": reason(total, identical, causes),
        "vectors": total,
        "identical": identical,
        "share": share,
        "minimum": minimum_identical,
        "causes": causes,
        "never_delivered": _events(replayed),
        "inputs": _inputs(replayed),
        "releases": _releases(replayed, vectors),
        "examples": _examples(replayed),
    }


def reason(total: int, identical: int, causes: dict[str, int]) -> str:
    """A sentence: how many vectors are identical, and of what the others are.

    >>> reason(2_000, 1_997, {"late event": 2, "unknown": 1})
    '1997 of 2000 vectors are identical (99.85 %); late event 2, unknown 1'
    """
    # A share is rounded down: 99.99 % must not read as 100 % while something differs.
    percent = np.floor(identical / total * 10_000) / 100
    others = ", ".join(f"{cause} {count}" for cause, count in causes.items())
    return f"{identical} of {total} vectors are identical ({percent:.2f} %)" + (f"; {others}" if others else "")


def _counted(codes: Any) -> dict[str, int]:
    counts = np.bincount(codes, minlength=NONE + 1)
    return {cause: int(counts[code]) for code, cause in enumerate(CAUSES) if counts[code]}


def _events(replayed: Replayed) -> int:
    """How many different events were scored that the lake does not have."""
    names = replayed.logged.about.column("event_id").to_numpy()[replayed.undelivered]
    return len(set(names.tolist()))


def _inputs(replayed: Replayed) -> dict[str, dict[str, Any]]:
    found = {}
    for index, name in enumerate(replayed.project.models[-1].inputs):
        codes = replayed.causes[:, index]
        identical = int((codes == NONE).sum())
        found[name] = {"identical": identical, "share": identical / len(codes), "causes": _counted(codes)}
    return found


def _releases(replayed: Replayed, vectors: Any) -> dict[str, dict[str, int]]:
    release = replayed.logged.about.column("release").combine_chunks().dictionary_encode()
    codes, names = release.indices.to_numpy(), release.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(names))
    identical = np.bincount(codes[vectors == NONE], minlength=len(names))
    return {
        name: {"vectors": int(counts[at]), "identical": int(identical[at])}
        for at, name in sorted(enumerate(names), key=lambda one: str(one[1]))
    }


def _examples(replayed: Replayed) -> list[dict[str, Any]]:
    """The first few mismatches of each cause, of different inputs where there are such."""
    rows = replayed.differing
    about = replayed.logged.about.take(rows)
    names = ("event_time", "event_id", "request_id")
    order = list(zip(*(about.column(name).to_pylist() for name in names), strict=True))
    by_time = np.array(sorted(range(len(rows)), key=order.__getitem__), dtype=np.int64)
    some = replayed.take(rows[by_time])
    found = []
    for code, cause in enumerate(CAUSES):
        places, inputs = np.nonzero(some.causes == code)
        _, first = np.unique(inputs, return_index=True)
        chosen = np.concatenate([np.sort(first), np.setdiff1d(np.arange(min(len(places), 50)), first)])[:_EXAMPLES]
        found += [_example(some, cause, int(places[at]), int(inputs[at])) for at in chosen.astype(np.int64)]
    return found


def _example(some: Replayed, cause: str, row: int, index: int) -> dict[str, Any]:
    """One mismatch; `some` are the answers that were looked at closely and nothing else."""
    source, logged = some.project.sources[0], some.logged
    about = logged.about.slice(row, 1).to_pylist()[0]
    personal = any(column.personal for column in source.columns if column.name == source.event_id)
    fits = logged.widths[row] == some.causes.shape[1]
    return {
        "cause": cause,
        "event_id": _MASKED if personal else about["event_id"],
        "event_time": about["event_time"].isoformat(),
        "release": about["release"],
        "input": some.project.models[-1].inputs[index],
        "served": _number(logged.vectors[row, index]) if fits else f"{logged.widths[row]} inputs were logged",
        "offline": _number(some.truth.inputs[row, index]),
        "read": _read(some, row),
    }


def _read(some: Replayed, row: int) -> dict[str, dict[str, Any]]:
    """For each view what the answer was computed from, beside what it is computed from now."""
    if not some.trace.traced[row]:
        return {}
    one = some.truth.take(np.array([row]))
    return {
        view.name: {
            name: [int(some.trace.counters[view.name][name][row]), int(one.counter(view.name, name)[0])]
            for name in counters_of(view)
        }
        for view in some.project.every_view
    }


def _number(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(value)
