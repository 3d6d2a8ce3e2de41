"""How BentoML is set for every project, and what of it is switched off because of what it costs or opens."""

from __future__ import annotations

from typing import Any

OPTIONS: dict[str, Any] = {
    "workers": 1,
    "traffic": {"timeout": 10.0},
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": ".*"},
}
"""Its metrics and access log take 100 to 170 microseconds a request, and its tracing 360 even when nobody
collects it; our own metrics are in `bentos.metrics`."""

ENVIRONMENT = {"BENTOML_DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1"}
"""No telemetry to third parties, and no threads of the learners beside the one that answers."""
