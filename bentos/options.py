"""How BentoML is set for every project, and what of it is switched off because of what it costs or opens."""

from __future__ import annotations

from typing import Any

OPTIONS: dict[str, Any] = {
    "workers": 1,
    "traffic": {"timeout": 10.0},
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
}
"""Its metrics and access log take 100 to 170 microseconds a request; ours are in `bentos.metrics`."""

ENVIRONMENT = {
    "BENTOML_DO_NOT_TRACK": "true",
    "BENTOML_CONFIG_OPTIONS": "tracing.excluded_urls=.*",
    "OMP_NUM_THREADS": "1",
}
"""No telemetry to third parties; tracing takes 360 microseconds a request even when nobody collects it."""
