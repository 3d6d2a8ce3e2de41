"""What each input of a model costs and is worth: bytes kept online, time to read, and what is lost without it."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs import mirror
from jobs.features import dependencies as dependencies_of
from jobs.features.dependencies import FOUND, dependencies
from jobs.features.live import state
from jobs.features.online.packing import HEADER, MARK
from jobs.projects import hook
from jobs.release.probability import scores_of
from jobs.spec import FeatureView, LiveView, Model, Project
from jobs.storage import Published, digest_code, publish
from jobs.training import fitting, learners, metrics
from jobs.training.candidates import read_training
from jobs.training.fitting import Configuration
from jobs.training.frame import Frame, TrainingFrame, outcomes_of
from jobs.training.learners import Examples
from jobs.training.metrics import LOWER_IS_BETTER, difference_intervals, interval, measure
from jobs.training.tasks import binary, task_of

WORK = 8e8
"""Rows times columns times trees that all trainings without an input may come to: half a minute on one core."""
ENTITIES = 100
"""How many entities' states are built to measure bytes and times."""
Scores = NDArray[np.float64]
View = FeatureView | LiveView


def measure_costs(
    project: Project,
    model: Model,
    candidate: Published,
    snapshot: Published,
    partition: Path,
    frame: Callable[[Model], TrainingFrame],
) -> Published:
    """A candidate's `costs.json`, with `stored` and `worth`, measured once.

    Times are kept beside it, as no part of what is published: they are of this machine and this minute, and all that
    is published has to come out the same again.
    """
    code = digest_code(sys.modules[__name__], dependencies_of, state, binary, fitting, learners, metrics)
    inputs = {"candidate": candidate.digest, "snapshot": snapshot.digest, "spec": project.digest, "code": code}

    def write(folder: Path) -> int:
        training = read_training(candidate)
        library, rounds = training["model"]["library"], training["rounds"] or 1
        configuration = Configuration(library=library, params=training["params"], rounds=rounds)
        known = frame(model)
        found = {"stored": stored(project, model, known.rows), "worth": worth(model, configuration, known)}
        (folder / "costs.json").write_text(json.dumps(found, indent=1, allow_nan=False))
        return len(model.inputs)

    published = publish(partition / model.name, write, inputs=inputs, watermark=snapshot.manifest.watermark)
    path, known = _times(partition, model), read_times(partition, model)
    if known is None or known["candidate"] != candidate.digest:
        found = {"candidate": candidate.digest, **timed(project, model, frame(model).rows)}
        mirror.write(path, json.dumps(found, indent=1, allow_nan=False).encode())
    return published


def read_times(partition: Path, model: Model) -> dict[str, Any] | None:
    """The times that `measure_costs` wrote beside a candidate's costs; None without any."""
    found = mirror.read(_times(partition, model))
    return json.loads(found) if found is not None else None


def _times(partition: Path, model: Model) -> Path:
    return partition / model.name / "times.json"


def worth(model: Model, configuration: Configuration, frame: TrainingFrame) -> dict[str, Any]:
    """For each input the drop-one loss: how much worse the model's metric is without it, with its 95 % interval.

    The chosen configuration is fitted on the newest validation fold with all inputs and with all but one, and judged
    on that fold's later rows, in pairs; the test part is not looked at. Where that is more than `WORK`, all of these
    models learn from the same smaller share of the negatives, `negatives_kept`.
    """
    fold = frame.plan.validation[0]
    train, held = frame.learned(fold), frame.judged(fold)
    trees = configuration.rounds * int(configuration.params.get("num_parallel_tree", 1))
    parts = _parts(model) if frame.task.separable else {}
    asked = len(train) * len(model.inputs) * trees * (len(parts) + 1) * max(len(model.classes), 1)
    share = min(1.0, WORK / max(asked, 1))
    if share < 1:
        train = train.where(frame.task.thinned(train, share, model.seed))
    outcomes, sign = outcomes_of(held), -1.0 if model.metric in LOWER_IS_BETTER else 1.0
    examples = frame.task.examples(model, configuration.params, train)
    full = _scores(model, configuration, examples, held.vectors, share)
    without: dict[str, Scores] = {}
    for name, mine in parts.items() if len(parts) > 1 else ():
        gone = [model.inputs.index(one) for one in mine]
        watched = np.delete(held.vectors, gone, axis=1)
        without[name] = _scores(model, configuration, _without(examples, gone), watched, share)
    losses: dict[str, dict[str, float | None]] = {}
    for name, found in difference_intervals(model.metric, outcomes, full, without, seed=model.seed).items():
        low, high = sorted(sign * found[end] for end in ("low", "high"))
        losses[name] = {"loss": _known(sign * found["difference"]), "low": _known(low), "high": _known(high)}
    low, high = interval(model.metric, outcomes, full, seed=model.seed)
    return {
        **fold.document(),
        "metric": model.metric,
        "value": _known(measure(model.metric, outcomes, full)),
        "low": _known(low),
        "high": _known(high),
        "rows": {"learned": len(train), "judged": len(held)},
        "positives": {
            what: int(frame.task.positive(rows.label).sum()) for what, rows in (("learned", train), ("judged", held))
        },
        "negatives_kept": share,
        "inputs": losses,
    }


def stored(project: Project, model: Model, rows: Frame) -> dict[str, Any]:
    """Bytes that the online store keeps of an entity: for each view, and for what each input reads.

    An input's `bytes` are those of what it reads, by itself; `freed` are those that nothing else would need. Means
    over entities of the rows, of values with their headers; None for a live view of other events than the spine's,
    which the rows do not hold.
    """
    reached = _reached(project, model)

    @functools.cache
    def bytes_of(view: View | None) -> float | None:
        return _bytes(view, rows)

    whole = {view.name: bytes_of(view) for view in project.every_view}
    inputs: dict[str, Any] = {}
    for name in model.told:
        others: set[tuple[str, str]] = set().union(*(reached[one] for one in model.told if one != name))
        alone, freed = [], []
        for view in project.every_view:
            mine = [feature for of, feature in reached[name] if of == view.name]
            own = {feature for feature in mine if (view.name, feature) not in others} - {FOUND}
            alone.append(bytes_of(_restricted(view, mine)))
            less = bytes_of(_restricted(view, [one for one in view.features if one not in own]))
            freed.append(_minus(whole[view.name], less) if own else 0.0)
        inputs[name] = {
            "features": sorted(f"{view}.{feature}" for view, feature in reached[name]),
            "bytes": _sum(alone),
            "freed": _sum(freed),
        }
    return {"views": whole, "inputs": inputs}


def timed(project: Project, model: Model, rows: Frame) -> dict[str, Any]:
    """Microseconds on this machine: to read each view, to read what each input needs by itself, and `features.request`.

    Median over up to 100 of the rows; `request` is for a row alone and `request_of_1000` for a row among a thousand.
    The transform makes all inputs at once, so its time cannot be told apart by input.
    """
    reached = _reached(project, model)
    read = {view.name: _read_time(view, rows) for view in project.every_view}
    inputs: dict[str, float | None] = {}
    for name in model.told:
        parts = [
            _read_time(_restricted(view, [feature for of, feature in reached[name] if of == view.name]), rows)
            for view in project.every_view
        ]
        inputs[name] = _sum(parts)
    request = hook(project, "features").request
    one, many = _asked(project, rows, 1), _asked(project, rows, 1_000)
    return {
        "views": read,
        "inputs": inputs,
        "request": _microseconds(lambda: request(*one), 200),
        "request_of_1000": _microseconds(lambda: request(*many), 20) / 1_000,
    }


def _reached(project: Project, model: Model) -> dict[str, set[tuple[str, str]]]:
    """The (view, feature) pairs that each input changes with, as `Model.told` names them."""
    found = dependencies(project)
    return {name: set().union(*(found.get(one, ()) for one in mine)) for name, mine in _parts(model).items()}


def _scores(
    model: Model, configuration: Configuration, examples: Examples, watched: NDArray[np.float64], share: float
) -> Scores:
    task, params = task_of(model), configuration.params
    grown = task.learners[configuration.library].grow(task.of_library(params), examples, watched, model.seed)
    margins = next(margins for rounds, margins in grown if rounds >= configuration.rounds)
    return scores_of(margins, task.entry(model, params, share))


def _parts(model: Model) -> dict[str, tuple[str, ...]]:
    """What is left out by itself, as `Model.told` names it: each input, and all flags as one."""
    return {name: model.flags.inputs if model.flags and name == model.flags.name else (name,) for name in model.told}


def _without(examples: Examples, columns: Sequence[int]) -> Examples:
    """The same rows with the same weights and without these columns, which are no flags or all of them."""
    plain = examples.x.shape[1] - examples.flags
    return replace(
        examples,
        x=np.delete(examples.x, columns, axis=1),
        increasing=tuple(np.delete(np.asarray(examples.increasing, dtype=np.bool_), columns).tolist())
        if examples.increasing
        else (),
        flags=examples.flags if columns[0] < plain else 0,
    )


def _restricted(view: View, features: Sequence[str]) -> View | None:
    """The view with only some of its features; None without any."""
    if not set(features) & set(view.features):
        return None
    if isinstance(view, FeatureView):
        return replace(view, features=tuple(one for one in view.features if one in features))
    return replace(view, windows=tuple(window for window in view.windows if window.name in features))


def _bytes(view: View | None, rows: Frame) -> float | None:
    if view is None:
        return 0.0
    if isinstance(view, FeatureView):
        return float(HEADER + 8 * len(view.features))
    states = _states(view, rows)
    return None if not states else float(np.mean([MARK + len(data) for data, _, _ in states]))


def _states(view: LiveView, rows: Frame) -> list[tuple[bytes, int, str]]:
    """States of some entities as of the end of the rows, and the time and id of each one's last event."""
    if view.events != "spine" or not len(rows) or any(key not in rows.payload for key in view.entity):
        return []
    keys = list(zip(*(rows.payload[key].tolist() for key in view.entity), strict=True))
    drawn = np.random.default_rng(0).permutation(len(known := sorted(set(keys))))[:ENTITIES]
    wanted: dict[tuple[Any, ...], list[int]] = {known[index]: [] for index in sorted(drawn)}
    for row, key in enumerate(keys):
        if key in wanted:
            wanted[key].append(row)
    columns = {**rows.payload, "label": rows.label}
    now, states = int(rows.event_time.max()), []
    for places in wanted.values():
        ids = rows.event_id[places].tolist()
        values = state.values_of(view, {name: column[places] for name, column in columns.items()}, len(places))
        (data,) = state.pack_all(view, np.array([0]), rows.event_time[places], ids, values, now)
        states.append((data, int(rows.event_time[places[-1]]), ids[-1]))
    return states


def _read_time(view: View | None, rows: Frame) -> float | None:
    """The median time to read an entity's values, without the round trip to a store."""
    if view is None:
        return 0.0
    if isinstance(view, FeatureView):
        value = bytes(HEADER + 8 * len(view.features))
        return _microseconds(lambda: np.frombuffer(value, "<i8", -1, HEADER), 200)
    times = [_microseconds(functools.partial(state.read, view, *one), 5) for one in _states(view, rows)]
    return float(np.median(times)) if times else None


def _microseconds(call: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - began)
    return float(np.median(taken)) / 1_000


def _asked(project: Project, rows: Frame, count: int) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]:
    """Arguments of `features.request`: the payload of so many of the rows, and features that are all 1."""
    places = np.arange(count) % len(rows)
    payload = {name: column[places] for name, column in rows.payload.items()}
    ones, found = np.ones(count, dtype=np.int64), np.ones(count, dtype=np.bool_)
    return payload, {view.name: {**dict.fromkeys(view.features, ones), FOUND: found} for view in project.every_view}


def _sum(parts: Sequence[float | None]) -> float | None:
    return None if None in parts else float(sum(part for part in parts if part is not None))


def _minus(whole: float | None, less: float | None) -> float | None:
    return None if whole is None or less is None else whole - less


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
