"""A slot at work: features looked up, vectors made, scored, decided, and every answer logged."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bentos.decoding import Decoder, Refused
from bentos.metrics import DEGRADED, RELEASE, ROWS, UNKNOWN
from bentos.predictions import PredictionLog
from bentos.rehearsal import Answer, rehearsing
from bentos.releases import Release, Releases
from jobs.errors import TidemillError
from jobs.features.online import OnlineStore
from jobs.features.vectors import online
from jobs.lake import Lake
from jobs.settings import Settings
from jobs.spec import Project

_REST = 1.0
"""Seconds without a look-up after one failed: the circuit breaker."""
log = logging.getLogger("tidemill.serving")


class Runtime:
    """One project's release in one slot. `start` before asking, `stop` to land the prediction log."""

    def __init__(self, project: Project, settings: Settings) -> None:
        self.project, self.slot = project, settings.slot
        self._releases = Releases(project, settings)
        self.release: Release | None = None
        self._decoder = Decoder(project.sources[0])
        self._store = OnlineStore.open(settings.online_store_url, project)
        folder = settings.home / "serving" / project.name / "log"
        self._log = PredictionLog(folder, Lake(settings.lake_uri), project.name, settings.slot)
        self._entities = tuple(dict.fromkeys(key for view in project.views for key in view.entity))
        self._rested = 0.0
        self.answer: Answer = self._answer

    def start(self) -> None:
        """Loads the release, and takes what is loaded out of the garbage collector's sight."""
        self.release = self._releases.load()
        if self.release:
            told = self.release.assignment
            RELEASE.labels(told.release, told.digest).set(1)
            if told.rehearse:
                self.answer = rehearsing(told.rehearse, self._answer)
        self._log.start()
        gc.collect()
        gc.freeze()
        log.info("%s %s serves %s", self.project.name, self.slot, self.release.name if self.release else "no release")

    def stop(self) -> None:
        """Lands every prediction taken so far."""
        self._log.stop()

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
        }

    async def _answer(self, body: bytes, request_id: str) -> bytes:
        release = self.release
        if release is None:
            raise Refused(503, "no release")
        rows, many = self._decoder.decode(body)
        payload = self._decoder.arrays(rows)
        values, found, degraded = self._look_up(payload)
        vectors = release.request(payload, online(self.project, values, found))
        scores = release.scorer.score(vectors)
        if not np.isfinite(scores).all():
            raise Refused(500, f"release {release.name} answered something that is not a number")
        decisions = release.decide(payload, scores)
        answers = self._answers(scores, decisions, found, degraded, request_id if not many else None, request_id)
        self._record(rows, vectors, answers)
        return msgspec.json.encode({"rows": answers} if many else answers[0])

    def _look_up(
        self, payload: Mapping[str, NDArray[Any]]
    ) -> tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.bool_]], bool]:
        """The features of every view, which of them were found, and whether the store could not be asked."""
        at = payload[self._decoder.event_time].tolist()
        values, found, degraded = {}, {}, time.monotonic() < self._rested
        for view in self.project.views:
            if not degraded:
                try:
                    keys = list(zip(*(payload[key].tolist() for key in view.entity), strict=True))
                    values[view.name], found[view.name] = self._store.read(view, keys, at)
                    degraded = not self._store.path.exists()
                except TidemillError as error:
                    log.error("served with default features: %s", error)
                    degraded = True
                if degraded:
                    self._rested = time.monotonic() + _REST
            if degraded:
                values[view.name] = np.zeros((len(at), len(view.features)), dtype=np.int64)
                found[view.name] = np.zeros(len(at), dtype=np.bool_)
        return values, found, degraded

    def _answers(
        self, scores: NDArray[np.float64], decisions: list[str], found: Mapping[str, NDArray[np.bool_]], degraded: bool,
        single: str | None, request_id: str,
    ) -> list[dict[str, Any]]:  # fmt: skip
        known = [(name, flags.tolist()) for name, flags in found.items()]
        answers = []
        for index, (score, decision) in enumerate(zip(scores.tolist(), decisions, strict=True)):
            unknown = [name for name, flags in known if not flags[index]]
            ROWS.labels(decision).inc()
            for name in unknown:
                UNKNOWN.labels(name).inc()
            answers.append(
                {
                    "probability": score,
                    "decision": decision,
                    "release": self.release.name if self.release else "",
                    "request_id": single or f"{request_id}-{index}",
                    "slot": self.slot,
                    "degraded": degraded,
                    "unknown": unknown,
                }
            )
        if degraded:
            DEGRADED.inc(len(answers))
        return answers

    def _record(self, rows: Sequence[Any], vectors: NDArray[np.float64], answers: Sequence[Mapping[str, Any]]) -> None:
        served_at = datetime.now(UTC)
        for row, vector, answer in zip(rows, vectors.tolist(), answers, strict=True):
            event_time = getattr(row, self._decoder.event_time).astimezone(UTC)
            record = {
                "request_id": answer["request_id"],
                "event_id": getattr(row, self._decoder.event_id),
                "event_time": event_time,
                "served_at": served_at,
                "release": answer["release"],
                "slot": self.slot,
                "score": answer["probability"],
                "decision": answer["decision"],
                "degraded": answer["degraded"],
                "entities": {key: getattr(row, key) for key in self._entities},
                "payload": row,
                "vector": vector,
            }
            self._log.append(event_time.date(), record)
