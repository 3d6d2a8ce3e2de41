"""The serving side: BentoML services that answer from a verified release. Runs in `.venv/serve`."""
