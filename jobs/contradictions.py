"""What a declaration must not say: every fault of a project at once, as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.flags import faults_of_flags
from jobs.policies import HALF, Experiment, Interleaving
from jobs.reasons import faults_of_reasons
from jobs.slices import faults_of_slices

if TYPE_CHECKING:
    from jobs.spec import Canary, Column, Drift, FeatureView, Label, LiveView, Model, Project, Source, Window

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


def contradictions(project: Project, *, reserved: str) -> Iterable[str]:
    """A sentence for each fault of a declaration; `reserved` is the source name that no project may use."""
    named: list[Project | Source | FeatureView | LiveView | Model] = [project]
    named += [*project.sources, *project.every_view, *project.models]
    for one in named:
        if not _NAME.match(one.name):
            yield f"{type(one).__name__.lower()} name {one.name!r} is not lower-case letters, digits and _"
    for what, names in (
        ("source", [source.name for source in project.sources]),
        ("table", list(project.tables)),
        ("feature view", [view.name for view in project.every_view]),
        ("model", [model.name for model in project.models]),
    ):
        if not names:
            yield f"it declares no {what}"
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{what} {name!r} is declared twice"
    for source in project.sources:
        yield from _of_source(source, reserved)
    for view in project.views:
        if not view.entity or not view.features:
            yield f"feature view {view.name!r} needs at least one entity key and one feature"
        if view.ttl <= timedelta(0) or view.lag < timedelta(0):
            yield f"feature view {view.name!r}: ttl must be positive and lag must not be negative"
    for live in project.live_views:
        yield from _of_live_view(live, project)
    requested = {column.name for source in project.sources[:1] for column in source.columns}
    for model in project.models:
        yield from _of_model(model, project.label)
        for name in sorted(requested & set(model.inputs)):
            yield f"model {model.name!r}: input {name!r} is called like a column of the request, and a frame holds both"
    yield from _of_policies(project)


def _of_policies(project: Project) -> Iterable[str]:
    yield from _of_canary(project.canary)
    if project.canary.maximum_score_distance is not None and any(model.group for model in project.models):
        yield "canary maximum_score_distance must be None: a ranking's scores say nothing beside another release's"
    if not 0 < project.replay.minimum_identical <= 1:
        yield f"replay minimum_identical {project.replay.minimum_identical} is no share of vectors: above 0 and at most 1"
    for found in (_of_gate(project), _of_drift(project.drift), _of_serving(project), _of_experiment(project)):
        yield from found
    yield from _of_review(project)
    yield from _of_offers(project)
    if project.approval and not 0 < project.approval.timeout_hours <= 24 * 90:
        yield f"approval timeout_hours {project.approval.timeout_hours} is not above 0 and at most 90 days"


def _of_offers(project: Project) -> Iterable[str]:
    offers, items = project.offers, [model.item for model in project.models[:-1] if model.item]
    if offers is None:
        return
    if len(items) != 1:
        yield "offers are made of what one retrieval finds: a model before the last that declares its item's columns"
        return
    for name in (*items[0], *(rule.column for rule in offers.rules)):
        if name not in {column.name for column in project.sources[0].columns if column.type == "integer"}:
            yield f"offers need the integer {name!r} of an item in a request, which has none"
    for rule in offers.rules:
        if rule.column not in items[0]:
            yield f"offers rule is about {rule.column!r}, which is no column of an item: {', '.join(items[0])}"
    if min(offers.length, *(rule.at_most or 1 for rule in offers.rules)) < 1 or not 0 <= offers.diversity <= 1:
        yield "offers length and at_most must be at least 1, and diversity from 0 to 1"
    if not offers.length <= offers.candidates <= 500:
        yield f"offers candidates {offers.candidates} are fewer than a list's {offers.length}, or more than 500"


def _of_review(project: Project) -> Iterable[str]:
    review = project.review
    if review is None or not project.sources:
        return
    columns = {one.name: {column.name for column in one.columns} for one in project.sources}
    if review.verdicts not in columns:
        yield f"review takes its verdicts from {review.verdicts!r}, which is no source; there are {', '.join(columns)}"
        return
    for name in (project.sources[0].event_id, "reviewer_id", "verdict"):
        if name not in columns[review.verdicts]:
            yield f"review takes its verdicts from {review.verdicts!r}, which has no column {name!r}"
    if min(review.items_a_day, review.reviewers) < 1 or not 0 <= review.explored <= 1:
        yield "review items_a_day and reviewers must be at least 1, and explored a share"
    if not -1 <= review.minimum_agreement <= 1:
        yield f"review minimum_agreement {review.minimum_agreement} is no alpha: from -1 to 1"


def _of_experiment(project: Project) -> Iterable[str]:
    experiment, walk = project.experiment, project.canary.walk
    if experiment is None:
        if project.canary.policy == "ab":
            yield "canary policy 'ab' waits for an experiment, and it declares none"
        return
    if HALF not in walk or walk[walk.index(HALF) + 1 :] != (100,):
        yield f"an experiment needs canary steps in which {HALF} is followed by 100, not {walk}"
    if not experiment.minimum_effect > 0:
        yield f"experiment minimum_effect {experiment.minimum_effect} must be above 0: no experiment finds less"
    if not (0 < experiment.alpha < 1 and 0 < experiment.power < 1):
        yield f"experiment alpha {experiment.alpha} and power {experiment.power} must be chances between 0 and 1"
    if experiment.maximum_days <= project.label.delay_days:
        yield (
            f"experiment maximum_days {experiment.maximum_days} is over before its first label is known, "
            f"{project.label.delay_days} days after the event"
        )
    yield from _of_halves(experiment) if isinstance(experiment, Experiment) else _of_interleaving(experiment, project)


def _of_halves(experiment: Experiment) -> Iterable[str]:
    if experiment.minimum_entities < 1 or not 0 <= experiment.maximum_crossed < 1:
        yield "experiment minimum_entities must be at least 1, maximum_crossed a share below 1"
    for metric in experiment.guardrails:
        if not metric.margin > 0:
            yield f"experiment guardrail {metric.name!r} needs a margin above 0: no sample shows that nothing is worse"
    names = [metric.name for metric in (experiment.primary, *experiment.guardrails, *experiment.secondary)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"experiment metric {name!r} is declared twice"


def _of_interleaving(experiment: Interleaving, project: Project) -> Iterable[str]:
    if experiment.minimum_effect >= 0.5:
        yield f"experiment minimum_effect {experiment.minimum_effect} is beyond a half of all lists: it is below 0.5"
    for model in [one for one in project.models[-1:] if not one.group]:
        yield f"an experiment interleaves lists, and model {model.name!r} has no group to make one of; declare halves"


def _of_live_view(view: LiveView, project: Project) -> Iterable[str]:
    if not view.entity or not view.windows:
        yield f"live view {view.name!r} needs at least one entity key and one window"
    requested = {column.name: column for column in project.sources[0].columns} if project.sources else {}
    for key in view.entity:
        if key not in requested:
            yield f"live view {view.name!r}: entity key {key!r} is not in a request, which has {', '.join(requested)}"
    if view.events in {batch.name for batch in project.views}:
        yield f"live view {view.name!r} takes its events from the batch view {view.events!r}, which has none"
    for name in sorted({name for name in view.features if view.features.count(name) > 1}):
        yield f"live view {view.name!r}: window {name!r} is declared twice"
    for window in view.windows:
        for fault in _of_window(window, project, requested):
            yield f"live view {view.name!r}: window {window.name!r} {fault}"


def _of_window(window: Window, project: Project, requested: Mapping[str, Column]) -> Iterable[str]:
    if not _NAME.match(window.name):
        yield "has a name that is not lower-case letters, digits and _"
    if window.length <= timedelta(0) or window.delay < timedelta(0):
        yield "needs a positive length and a delay that is not negative"
    if (window.column is None) != (window.function == "count"):
        yield "needs a column, unless it is a count" if window.column is None else "counts events and takes no column"
    if window.hop is not None and (
        window.hop <= timedelta(0) or window.length % window.hop or window.delay % window.hop
    ):
        yield f"has a hop of {window.hop}, of which its length and delay are not multiples"
    column = requested.get(window.column or "")
    if window.column and (column is None or column.nullable) and window.delay.days < project.label.delay_days:
        yield (
            f"reads {window.column!r}, which no request carries and is certain only after "
            f"{project.label.delay_days} days: a delay of {window.delay.days} days leaks what was not known yet"
        )
    if column and column.type in ("number", "timestamp"):
        yield f"takes the {window.function} of the {column.type} {window.column!r}; only integers add up to the same sum"
    if column and column.type == "string" and window.function != "distinct":
        yield f"takes the {window.function} of the text {window.column!r}; texts can only be counted as distinct"


def _of_source(source: Source, reserved: str) -> Iterable[str]:
    if source.name == reserved:
        yield f"source {source.name!r} is the prediction log's name; choose another"
    columns = {column.name: column for column in source.columns}
    delivered = [alias.name for column in source.columns for alias in column.aliases] + list(columns)
    for name in sorted({name for name in delivered if delivered.count(name) > 1}):
        yield f"source {source.name!r}: {name!r} names more than one column"
    if source.event_id not in columns:
        yield f"source {source.name!r}: event id {source.event_id!r} is not one of its columns"
    if source.event_time not in columns or columns[source.event_time].type != "timestamp":
        yield f"source {source.name!r}: event time {source.event_time!r} is not a timestamp column of it"


def _of_model(model: Model, label: Label) -> Iterable[str]:
    if not model.learners or not model.baselines:
        yield f"model {model.name!r} needs at least one learner and one baseline to beat"
    if model.split.delay_days < label.delay_days:
        yield (
            f"model {model.name!r}: split.delay_days {model.split.delay_days} is shorter than "
            f"the label's delay {label.delay_days}"
        )
    for fault in faults_of_reasons(model.reasons, model.told):
        yield f"model {model.name!r}: {fault}"
    for fault in (*faults_of_flags(model.flags, model.inputs, model.increasing), *_of_classes(model)):
        yield f"model {model.name!r}: {fault}"
    if model.task == "ranking" and (model.group is None or model.split.drop_known):
        yield f"model {model.name!r} ranks: it needs a group, all of whose rows are judged, and drops no known entity"
    if model.task != "ranking" and (model.group or model.place):
        yield f"model {model.name!r}: group and place are a ranking's, and its task is {model.task}"
    if not model.imbalance or not set(model.imbalance) <= {"none", "weight", "sampling"}:
        yield f"model {model.name!r}: imbalance {model.imbalance} names no treatment, or one that is not none, weight or sampling"
    for name in model.increasing:
        if name not in model.inputs:
            yield f"model {model.name!r}: increasing names {name!r}, which is not one of its inputs"
    if min(model.split.train_days, model.split.test_days - 1, model.split.folds) < 1:
        yield f"model {model.name!r}: its split needs a train day, two test days and a fold to tune and calibrate on"


def _of_classes(model: Model) -> Iterable[str]:
    if model.task != "multiclass":
        if model.classes or model.decisions:
            yield f"classes and decisions with costs are a multi-class model's, and its task is {model.task}"
        return
    if len(model.classes) < 2 or len(set(model.classes)) != len(model.classes):
        yield f"classes {model.classes} are not two or more different ones"
    names = [decision.name for decision in model.decisions]
    if not names or len(set(names)) != len(names):
        yield f"decisions {tuple(names)} are not one or more different ones"
    for decision in model.decisions:
        if len(decision.costs) != len(model.classes) or min(decision.costs, default=0) < 0:
            yield f"decision {decision.name!r} needs a cost of 0 or more for each class, not {decision.costs}"


def _of_gate(project: Project) -> Iterable[str]:
    for threshold in project.gate.thresholds:
        if threshold.model not in (None, *(model.name for model in project.models)):
            yield f"gate threshold on {threshold.metric!r} is about {threshold.model!r}, which is no model of it"
        if threshold.minimum is threshold.maximum is threshold.allowed_regression is None:
            yield f"gate threshold on {threshold.metric!r} bounds nothing"
        if threshold.allowed_regression is not None and threshold.allowed_regression < 0:
            yield f"gate threshold on {threshold.metric!r}: allowed_regression is negative; 0 allows none"
    columns = {column.name for source in project.sources[:1] for column in source.columns if not column.nullable}
    columns |= set.intersection(*(set(model.inputs) for model in project.models)) if project.models else set()
    yield from faults_of_slices(project.gate.slices, columns)


def _of_canary(canary: Canary) -> Iterable[str]:
    steps = canary.steps
    if list(steps) != sorted(set(steps)) or not steps or steps[-1] != 100 or steps[0] < 1:
        yield f"canary steps {steps} must rise from at least 1 to 100 percent"
    if canary.policy not in ("canary", "blue_green", "ab"):
        yield f"canary policy {canary.policy!r} is not canary, blue_green or ab"
    for name in ("bake_seconds", "shadow_seconds", "final_bake_seconds"):
        if not 0 <= getattr(canary, name) <= canary.deadline_seconds:
            yield f"canary deadline_seconds is shorter than {name}, or that is negative: no step could ever advance"
    if min(canary.parity_rows, canary.shadow_requests, canary.minimum_requests, canary.minimum_matured) < 1:
        yield "canary parity_rows, shadow_requests, minimum_requests and minimum_matured must be at least 1"
    if canary.label_metric and canary.label_metric.margin < 0:
        yield f"canary label_metric {canary.label_metric.name!r}: margin must not be negative"
    if not 0 < canary.alpha < 1:
        yield f"canary alpha {canary.alpha} is no chance of a false alarm: between 0 and 1"
    if canary.error_effect < 0 or not 0 <= (canary.maximum_score_distance or 0) <= 1:
        yield "canary error_effect must not be negative, and maximum_score_distance not beyond 0 and 1"
    if canary.maximum_growth_megabytes is not None and canary.maximum_growth_megabytes < 1:
        yield "canary maximum_growth_megabytes must be at least 1"
    if min(canary.entities, canary.maximum_unmeasured_looks) < 1:
        yield "canary entities and maximum_unmeasured_looks must be at least 1"


def _of_serving(project: Project) -> Iterable[str]:
    serving = project.serving
    if min(serving.deadline_milliseconds, serving.requests_per_second, serving.rows_per_day) < 1:
        yield "serving deadline_milliseconds, requests_per_second and rows_per_day must be at least 1"
    if serving.cache_seconds < 0 or serving.scan_values < 0:
        yield "serving cache_seconds and scan_values must not be negative; 0 switches them off"
    if serving.round_scores is not None and not 1 <= serving.round_scores <= 15:
        yield f"serving round_scores {serving.round_scores} is not from 1 to 15 decimals; None answers the whole number"
    if serving.cache_seconds and project.live_views:
        yield (
            f"serving cache_seconds {serving.cache_seconds} would answer from windows without the event that is asked "
            f"about: {project.live_views[0].name!r} is a live view, in which every event counts"
        )


def _of_drift(drift: Drift) -> Iterable[str]:
    if drift.window_days < 1 or drift.minimum_rows < 1:
        yield f"drift window_days {drift.window_days} and minimum_rows {drift.minimum_rows} must be at least 1"
    if drift.cool_down_days < 0:
        yield f"drift cool_down_days {drift.cool_down_days} is negative"
    if drift.effect_floor < 0:
        yield f"drift effect_floor {drift.effect_floor} is negative; 0 takes every difference beyond chance"
    if not drift.false_alarms_per_quarter > 0:
        yield f"drift false_alarms_per_quarter {drift.false_alarms_per_quarter} must be above 0: no test is never wrong"
    if not 1 <= drift.persistent_batches <= drift.of_batches:
        yield f"drift cannot last for {drift.persistent_batches} of the last {drift.of_batches} batches"
