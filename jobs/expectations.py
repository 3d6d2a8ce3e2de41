"""Great Expectations on pandas: a table held against its suite, and the pages that show it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.batch import day_start
from jobs.data_docs import finish
from jobs.errors import SpecError
from jobs.settings import ROOT
from jobs.storage import digest_file

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 30
"""How many results a call adds to the pages at most: failed ones first, then the newest."""


def suite_file(project: str, table: str) -> Path:
    """A table's suite; raises SpecError when the table has none."""
    path = ROOT / "expectations" / project / f"{table}.json"
    if not path.is_file():
        raise SpecError(f"table {table!r} of project {project!r} has no expectations; write {path.relative_to(ROOT)}")
    return path


@dataclass(kw_only=True)
class Verdict:
    """What a suite said of a table: it passed only if every expectation was evaluated, without an error, and held."""

    evaluated: int
    expected: int
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.failures and self.evaluated == self.expected


class Checker:
    """One Great Expectations context for a whole call: importing and preparing it costs more than a batch."""

    def __init__(self, project: str, docs: Path) -> None:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        import great_expectations as gx
        from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults
        from great_expectations.data_context.types.resource_identifiers import (
            ExpectationSuiteIdentifier,
            ValidationResultIdentifier,
        )

        self._gx, self._project, self._docs = gx, project, docs.resolve()
        stores = InMemoryStoreBackendDefaults()
        stores.stores[stores.validation_results_store_name]["store_backend"] = _folder(self._docs / "results")
        config = DataContextConfig(store_backend_defaults=stores, analytics_enabled=False)
        self._context = gx.get_context(mode="ephemeral", project_config=config)
        self._context.variables.progress_bars = {"globally": False}
        self._source = self._context.data_sources.add_pandas(project)
        self._definitions: dict[str, tuple[Any, int]] = {}
        self._suite_key, self._result_key = ExpectationSuiteIdentifier, ValidationResultIdentifier
        self._shown: list[tuple[date, bool, Any]] = []

    def check(self, table: str, day: date, rows: pd.DataFrame) -> Verdict:
        """A table's verdict for one day."""
        definition, expected = self._definition(table)
        run = self._gx.RunIdentifier(run_name=day.isoformat(), run_time=day_start(day))
        result = definition.run(batch_parameters={"dataframe": rows}, run_id=run)
        verdict = Verdict(evaluated=len(result.results), expected=expected)
        for one in result.results:
            name = f"{one.expectation_config.type} {one.expectation_config.kwargs.get('column', '')}".strip()
            if (one.exception_info or {}).get("raised_exception") or "exception_message" not in (
                one.exception_info or {}
            ):
                verdict.failures.append(f"{name}: raised {_raised(one.exception_info)}")
            elif not one.success:
                verdict.failures.append(f"{name}: {_observed(one.result)}")
        if verdict.evaluated != expected:
            verdict.failures.append(f"{verdict.evaluated} of {expected} expectations were evaluated")
        self._shown.append(
            (day, verdict.passed, self._result_key(self._suite_key(name=result.suite_name), run, result.batch_id))
        )
        return verdict

    def _definition(self, table: str) -> tuple[Any, int]:
        if table not in self._definitions:
            content = json.loads(suite_file(self._project, table).read_bytes())
            suite = self._context.suites.add(self._gx.ExpectationSuite(**content))
            batch = self._source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("day")
            definition = self._gx.ValidationDefinition(name=f"{self._project}.{table}", data=batch, suite=suite)
            definition = self._context.validation_definitions.add(definition)
            self._definitions[table] = definition, len(content["expectations"])
        return self._definitions[table]

    def build_docs(self) -> Path:
        """Adds this call's failed and newest results to the pages; returns the first page."""
        newest = sorted(self._shown, key=lambda one: (not one[1], one[0]))[-_SHOWN:]
        for one in self._shown:
            if one not in newest:
                self._context.validation_results_store.remove_key(one[2])
        suites = [self._suite_key(name=suite.name) for suite in self._context.suites.all()]
        self._context.add_data_docs_site(
            "pages",
            {
                "class_name": "SiteBuilder",
                "store_backend": _folder(self._docs),
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "show_cta_footer": False},
                "show_how_to_buttons": False,
            },
        )
        self._context.build_data_docs(
            ["pages"], resource_identifiers=[*suites, *(key for *_, key in newest)], build_index=False
        )
        return finish(self._docs)


def _folder(path: Path) -> dict[str, str]:
    return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(path)}


def suites_digest(project: str, tables: tuple[str, ...]) -> dict[str, str]:
    """The digest of every suite: an input of the verdicts."""
    return {f"suite/{table}": digest_file(suite_file(project, table)) for table in tables}


def _raised(info: Any) -> str:
    return str((info or {}).get("exception_message") or info)[:300]


def _observed(result: dict[str, Any]) -> str:
    shown = {
        name: result[name]
        for name in ("observed_value", "unexpected_count", "partial_unexpected_list")
        if name in result
    }
    return json.dumps(shown, default=str)[:300]
