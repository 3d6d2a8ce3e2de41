"""A slot at work: requests decoded, limited, scored or found in the cache, and every answer logged."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bentos import metrics, readiness
from bentos.asking import Answer, Asking
from bentos.cache import Cache, Kept
from bentos.decoding import MAXIMUM_ROWS, Decoder, Refused
from bentos.explanations import MAXIMUM_ROWS as EXPLAINED_ROWS
from bentos.explanations import Beside, Explanation, as_ranked, explanations, rounded
from bentos.guard import Guard
from bentos.interleaved import Interleaved
from bentos.lists import Lists
from bentos.places import placed
from bentos.predictions import PredictionLog, Served
from bentos.recent import Recent
from bentos.rehearsal import rehearsing
from bentos.releases import Release, Releases
from bentos.scoring import Prediction, Scoring, rounded_answer
from bentos.turns import Lists as Order
from bentos.turns import Turns
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.spec import Project

_SLICE = 0.001
"""Seconds until a thread that writes the log or explains gives way to the one that answers."""
log = logging.getLogger("tidemill.serving")
_encode = msgspec.json.Encoder().encode


class Runtime:
    """One project's release in one slot. `start` before asking, `stop` to land the prediction log."""

    def __init__(self, project: Project, settings: Settings) -> None:
        self.project, self.slot = project, settings.slot
        self.release: Release | None = None
        self.guard = Guard(project, settings)
        item = next((model.item for model in project.models if model.item), ()) if project.offers else ()
        self.decoder = Decoder(project.sources[0], item)
        self._releases = Releases(project, settings)
        self._scoring = Scoring(project, self.decoder, settings)
        self._lists = Lists(project.offers, item, self.decoder, self._scoring) if project.offers else None
        folder, lake = settings.home / "serving" / project.name, Lake(settings.lake_uri)
        self._log = PredictionLog(folder / "log", lake, project, settings.slot)
        self._shadow_log = PredictionLog(folder / "shadow", lake, project, settings.slot, shadow=True)
        self._parity: dict[str, Any] | None = None
        self._recent, self._beside, self._cache = Recent(), Beside(), Cache(project)
        self._interleaved, self._turns = Interleaved(self._releases), Turns(self._predict)
        self.answer: Answer = self._answer

    def start(self) -> None:
        """Loads the release, and takes what is loaded out of the garbage collector's sight."""
        self.release = self._releases.load()
        if self.release:
            told = self.release.assignment
            metrics.RELEASE.labels(told.release, told.digest).set(1)
            if told.rehearse:
                self.answer = rehearsing(told.rehearse, self._answer)
            self._interleaved.start(self.release)
            self._try(self.release)
        self._log.start()
        self._shadow_log.start()
        self.guard.start()
        sys.setswitchinterval(_SLICE)
        gc.collect()
        gc.freeze()
        log.info("%s %s serves %s", self.project.name, self.slot, self.release.name if self.release else "no release")

    def stop(self) -> None:
        """Lands every prediction taken so far, and stores the events that could not be stored."""
        self._interleaved.stop()
        self._scoring.stop()
        self._log.stop()
        self._shadow_log.stop()
        self.guard.stop()

    def state(self) -> dict[str, Any]:
        """What the slot serves, and why it refused what it was told to serve, if it did.

        With the rule alone it is not ready: the router asks it only where no other slot is.
        """
        release = self.release
        told, beside = release.assignment if release else None, self._interleaved.release
        return {
            "ready": release is not None and release.scorer is not None,
            "project": self.project.name,
            "slot": self.slot,
            "release": told and told.release,
            "digest": told and told.digest,
            "epoch": told and told.epoch,
            "rehearse": told and told.rehearse,
            "refused": self._releases.refused,
            "beside": beside and beside.name,
            "alone": self._releases.alone,
            "degraded_by": release and release.degraded_by,
            "process": os.getpid(),
            "parity": self._parity,
        }

    def _try(self, release: Release) -> None:
        """Scores what the release stored, and takes the whole path of a request, before anybody waits for it."""
        rows = readiness.made_up(self.decoder.columns, self.decoder.row)
        self._parity = readiness.parity(release)
        try:
            for row in rows:
                self._scoring.score(release, [row], ["warm-up"], add=False)
        except (Refused, ValueError) as error:
            self._parity |= {"furthest": None, "refused": str(error)}

    async def explain(self, asking: Asking) -> bytes:
        """Why the rows of a request are scored as they are; they count as no event and are not logged.

        A row that this slot answered lately is explained by the very vector it was scored by, any other by the
        one that a prediction would make now.
        """
        release, rows, many, ids, _ = self._decode(asking, EXPLAINED_ROWS)
        return await self._beside.work(lambda: self._explain(release, rows, many, ids))

    def _explain(self, release: Release, rows: list[Any], many: bool, ids: list[str]) -> bytes:
        answers, vectors, _ = self._scoring.score(release, rows, ids, add=False)
        as_served = []
        for index, row in enumerate(rows):
            known = self._recent.find(row)
            as_served.append(known is not None)
            if known:
                vectors[index] = known[0]
                answers[index] = msgspec.structs.replace(known[1], request_id=ids[index])
        explained: list[Explanation] = explanations(self.project.models[-1], release, answers, vectors, as_served)
        metrics.EXPLAINED.inc(len(explained))
        decimals = self.project.serving.round_scores
        if decimals is not None:
            explained = [rounded(one, decimals) for one in explained]
        told = [as_ranked(one) for one in explained] if self.project.models[-1].group else explained
        return _encode({"rows": told} if many else told[0])

    def _decode(self, asking: Asking, most: int) -> tuple[Release, list[Any], bool, list[str], list[int]]:
        """The release to ask, the rows, whether they are a batch, an id for each, and their places on lists made here."""
        if self.release is None:
            raise Refused(503, "no release", retry_after=5)
        rows, many = self.decoder.decode(asking.body)
        rows, places = self._lists.completed(self.release, rows) if self._lists else (rows, [])
        many = many or any(places)
        if len(rows) > most:
            raise Refused(422, f"Expected `array` of length <= {most}", field="rows")
        self.guard.rows(asking.key, rows)
        name = asking.request_id
        ids = [f"{name}-{index}" for index in range(len(rows))] if many else [name]
        return self.release, rows, many, ids, places

    async def _answer(self, asking: Asking) -> bytes:
        release, rows, many, ids, places = self._decode(asking, MAXIMUM_ROWS)
        decimals, group = self.project.serving.round_scores, self.project.models[-1].group
        groups = [getattr(row, group) for row in rows] if group else []
        if self._cache and not asking.shadow and self._interleaved.release is None:
            answers = await self._with_cache(release, asking, rows, ids)
        else:
            made = [None] * len(rows) if any(places) else groups
            answers = await self._turns.predictions(asking, rows, ids, made)
        if group:
            ordered = placed(answers, groups, decimals)
            ordered = self._lists.shown(ordered, rows, places) if self._lists else ordered
            return _encode({"rows": ordered} if many else ordered[0])
        if decimals is not None:
            answers = [rounded_answer(one, decimals) for one in answers]
        return _encode({"rows": answers} if many else answers[0])

    async def _with_cache(
        self, release: Release, asking: Asking, rows: list[Any], ids: list[str]
    ) -> list[Prediction]:  # fmt: skip
        """Answers known from rows with the same inputs, under an id of their own, and predictions of the others."""
        known = [self._cache.find(row, time.monotonic()) for row in rows]
        found = [
            (row, kept._replace(answer=msgspec.structs.replace(kept.answer, request_id=name)))
            for row, name, kept in zip(rows, ids, known, strict=True)
            if kept
        ]
        self._take([row for row, _ in found], [kept for _, kept in found], [kept.answer for _, kept in found])
        metrics.HITS.inc(len(found))
        missing = [index for index, kept in enumerate(known) if kept is None]
        metrics.MISSES.inc(len(missing))
        fresh: list[Prediction] = []
        if missing:
            fresh = await self._turns.predictions(asking, [rows[one] for one in missing], [ids[one] for one in missing])
        answers = iter(fresh), iter([kept.answer for _, kept in found])
        return [next(answers[0] if kept is None else answers[1]) for kept in known]

    def _predict(self, rows: list[Any], ids: list[str], lists: list[Order], *, shadow: bool) -> list[Prediction]:
        release, beside = self.release, self._interleaved.release
        if release is None:
            raise Refused(503, "no release", retry_after=5)
        scored = self._scoring.score(release, rows, ids, add=not shadow)
        answers = scored.answers
        if beside and not shadow:
            answers = self._interleaved.drafted(beside, answers, scored.vectors, lists)
        kept = list(map(Kept, answers, scored.vectors.tolist(), scored.provenance))
        if shadow:
            metrics.SHADOWED.inc(len(kept))
            metrics.count_scores("shadow", (one.answer.probability for one in kept))
            served_at = datetime.now(UTC)
            for row, one in zip(rows, kept, strict=True):
                self._shadow_log.append(Served(row, one.vector, one.answer, served_at, one.provenance))
        else:
            self._take(rows, kept, scored.answers)
            if self._cache and beside is None:
                for row, one in zip(rows, kept, strict=True):
                    if not one.answer.degraded:
                        self._cache.keep(row, one, time.monotonic())
        return answers

    def _take(self, rows: Sequence[Any], answered: Sequence[Kept], own: Sequence[Prediction]) -> None:
        """Counts and logs answers, and remembers what the slot's own release said, to be explained."""
        metrics.count_scores("predict", (one.answer.probability for one in answered))
        for decision, count in Counter(one.answer.decision for one in answered).items():
            metrics.ROWS.labels(decision).inc(count)
        for view, count in Counter(view for one in answered for view in one.answer.unknown).items():
            metrics.UNKNOWN.labels(view).inc(count)
        for cause, count in Counter(cause for one in answered for cause in one.answer.degraded_by).items():
            metrics.DEGRADED.labels(cause).inc(count)
        served_at = datetime.now(UTC)
        for row, one, said in zip(rows, answered, own, strict=True):
            self._recent.keep(row, one.vector, said)
            self._log.append(Served(row, one.vector, one.answer, served_at, one.provenance))
