"""A slot at work: features looked up, vectors made, scored, decided, and every answer logged.

Requests that arrive in the same turn of the event loop share one look-up, one vector and one scoring call:
nobody waits for company, but under load it is there already.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bentos import metrics, readiness
from bentos.decoding import MAXIMUM_ROWS, Decoder, Refused
from bentos.explanations import MAXIMUM_ROWS as EXPLAINED_ROWS
from bentos.explanations import Beside, explanations
from bentos.lookup import Lookup
from bentos.predictions import PredictionLog, Served
from bentos.recent import Recent
from bentos.rehearsal import Answer, rehearsing
from bentos.releases import Release, Releases
from jobs.features.vectors import online
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.spec import Project

_SLICE = 0.001
"""Seconds until a thread that writes the log or explains gives way to the one that answers."""
log = logging.getLogger("tidemill.serving")
_encode = msgspec.json.Encoder().encode


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """The answer for one row."""

    probability: float
    decision: str
    release: str
    request_id: str
    slot: str
    degraded: bool
    unknown: tuple[str, ...]


class _Asked:
    __slots__ = ("answers", "ids", "rows", "shadow")

    def __init__(
        self, rows: Sequence[Any], ids: Sequence[str], answers: asyncio.Future[list[Prediction]], shadow: bool
    ) -> None:
        self.rows, self.ids, self.answers, self.shadow = rows, ids, answers, shadow


class Runtime:
    """One project's release in one slot. `start` before asking, `stop` to land the prediction log."""

    def __init__(self, project: Project, settings: Settings) -> None:
        self.project, self.slot = project, settings.slot
        self.release: Release | None = None
        self._releases = Releases(project, settings)
        self._decoder = Decoder(project.sources[0])
        self._lookup = Lookup(project, settings)
        folder, lake = settings.home / "serving" / project.name, Lake(settings.lake_uri)
        self._log = PredictionLog(folder / "log", lake, project, settings.slot)
        self._shadow_log = PredictionLog(folder / "shadow", lake, project, settings.slot, shadow=True)
        self._parity: dict[str, Any] | None = None
        self._asked: list[_Asked] = []
        self._recent, self._beside = Recent(), Beside()
        self.answer: Answer = self._answer
        self.shadow: Answer = self._mirrored

    def start(self) -> None:
        """Loads the release, and takes what is loaded out of the garbage collector's sight."""
        self.release = self._releases.load()
        if self.release:
            told = self.release.assignment
            metrics.RELEASE.labels(told.release, told.digest).set(1)
            if told.rehearse:
                self.answer = rehearsing(told.rehearse, self._answer)
                self.shadow = rehearsing(told.rehearse, self._mirrored)
            self._try(self.release)
        self._log.start()
        self._shadow_log.start()
        sys.setswitchinterval(_SLICE)
        gc.collect()
        gc.freeze()
        log.info("%s %s serves %s", self.project.name, self.slot, self.release.name if self.release else "no release")

    def stop(self) -> None:
        """Lands every prediction taken so far, and stores the events that could not be stored."""
        self._lookup.stop()
        self._log.stop()
        self._shadow_log.stop()

    def state(self) -> dict[str, Any]:
        """What the slot serves, and why it refused what it was told to serve, if it did."""
        told = self.release.assignment if self.release else None
        return {
            "ready": told is not None,
            "project": self.project.name,
            "slot": self.slot,
            "release": told and told.release,
            "digest": told and told.digest,
            "epoch": told and told.epoch,
            "rehearse": told and told.rehearse,
            "refused": self._releases.refused,
            "process": os.getpid(),
            "parity": self._parity,
        }

    def _try(self, release: Release) -> None:
        """Scores what the release stored, and takes the whole path of a request, before anybody waits for it."""
        rows = readiness.made_up(self._decoder.columns, self._decoder.row)
        self._parity = readiness.parity(release)
        try:
            for row in rows:
                self._answers(release, [row], ["warm-up"], add=False)
        except (Refused, ValueError) as error:
            self._parity |= {"furthest": None, "refused": str(error)}

    async def explain(self, body: bytes, request_id: str) -> bytes:
        """Why the rows of a request are scored as they are; they count as no event and are not logged.

        A row that this slot answered lately is explained by the very vector it was scored by, any other by the
        one that a prediction would make now.
        """
        release, rows, many, ids = self._decode(body, request_id, EXPLAINED_ROWS)
        return await self._beside.work(lambda: self._explain(release, rows, many, ids))

    def _explain(self, release: Release, rows: list[Any], many: bool, ids: list[str]) -> bytes:
        answers, vectors, _ = self._answers(release, rows, ids, add=False)
        as_served = []
        for index, row in enumerate(rows):
            known = self._recent.find(row)
            as_served.append(known is not None)
            if known:
                vectors[index] = known[0]
                answers[index] = msgspec.structs.replace(known[1], request_id=ids[index])
        explained = explanations(self.project.models[-1], release, answers, vectors, as_served)
        metrics.EXPLAINED.inc(len(explained))
        return _encode({"rows": explained} if many else explained[0])

    def _decode(self, body: bytes, request_id: str, most: int) -> tuple[Release, list[Any], bool, list[str]]:
        """The release to ask, the rows, whether they are a batch, and an id for each."""
        if self.release is None:
            raise Refused(503, "no release")
        rows, many = self._decoder.decode(body)
        if len(rows) > most:
            raise Refused(422, f"Expected `array` of length <= {most}", field="rows")
        ids = [f"{request_id}-{index}" for index in range(len(rows))] if many else [request_id]
        return self.release, rows, many, ids

    async def _answer(self, body: bytes, request_id: str) -> bytes:
        return await self._answered(body, request_id, shadow=False)

    async def _mirrored(self, body: bytes, request_id: str) -> bytes:
        """The answer to a mirrored request, which counts as no event and is logged apart."""
        return await self._answered(body, request_id, shadow=True)

    async def _answered(self, body: bytes, request_id: str, *, shadow: bool) -> bytes:
        _, rows, many, ids = self._decode(body, request_id, MAXIMUM_ROWS)
        loop = asyncio.get_running_loop()
        asked = _Asked(rows, ids, loop.create_future(), shadow)
        if not self._asked:
            loop.call_soon(self._answer_all)
        self._asked.append(asked)
        answers = await asked.answers
        return _encode({"rows": answers} if many else answers[0])

    def _answer_all(self) -> None:
        waiting, self._asked = self._asked, []
        while waiting:
            taken = [waiting.pop(0)]
            size = len(taken[0].rows)
            while waiting and size + len(waiting[0].rows) <= MAXIMUM_ROWS:
                size += len(waiting[0].rows)
                taken.append(waiting.pop(0))
            for shadow in (False, True):
                alike = [one for one in taken if one.shadow is shadow and not one.answers.cancelled()]
                self._answer_together(alike, shadow=shadow)

    def _answer_together(self, asked: list[_Asked], *, shadow: bool) -> None:
        rows = [row for one in asked for row in one.rows]
        if not rows:
            return
        try:
            answers = self._predict(rows, [name for one in asked for name in one.ids], shadow=shadow)
        except Exception as error:
            for one in asked:
                one.answers.set_exception(error)
            return
        first = 0
        for one in asked:
            one.answers.set_result(answers[first : first + len(one.rows)])
            first += len(one.rows)

    def _predict(self, rows: list[Any], ids: list[str], *, shadow: bool) -> list[Prediction]:
        release = self.release
        if release is None:
            raise Refused(503, "no release")
        answers, vectors, provenance = self._answers(release, rows, ids, add=not shadow)
        served_at = datetime.now(UTC)
        if shadow:
            metrics.SHADOWED.inc(len(answers))
            for row, vector, answer, source in zip(rows, vectors.tolist(), answers, provenance, strict=True):
                self._shadow_log.append(Served(row, vector, answer, served_at, source))
            return answers
        for decision, count in Counter(answer.decision for answer in answers).items():
            metrics.ROWS.labels(decision).inc(count)
        for view, count in Counter(view for answer in answers for view in answer.unknown).items():
            metrics.UNKNOWN.labels(view).inc(count)
        if answers[0].degraded:
            metrics.DEGRADED.inc(len(answers))
        for row, vector, answer, source in zip(rows, vectors.tolist(), answers, provenance, strict=True):
            self._recent.keep(row, vector, answer)
            self._log.append(Served(row, vector, answer, served_at, source))
        return answers

    def _answers(
        self, release: Release, rows: list[Any], ids: list[str], *, add: bool
    ) -> tuple[list[Prediction], NDArray[np.float64], list[Any]]:
        """The answer to each row, its vector, and what that was read from; with `add` the rows count as events."""
        payload = self._decoder.arrays(rows)
        looked_up, degraded = self._lookup.look_up(payload, add=add)
        vectors = release.request(payload, online(self.project, looked_up.values, looked_up.found))
        scores = release.scorer.score(vectors)
        if not np.isfinite(scores).all():
            raise Refused(500, f"release {release.name} answered something that is not a number")
        decisions = release.decide(payload, scores)
        unknown: list[tuple[str, ...]] = [()] * len(rows)
        for view, known in looked_up.found.items():
            if not known.all():
                for index in np.flatnonzero(~known).tolist():
                    unknown[index] += (view,)
        answers = [
            Prediction(score, decision, release.name, request_id, self.slot, degraded, names)
            for score, decision, request_id, names in zip(scores.tolist(), decisions, ids, unknown, strict=True)
        ]
        return answers, vectors, looked_up.provenance
