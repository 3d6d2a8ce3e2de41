"""The registry, the tests, the page and the README say the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import readme
from tests.faults.__main__ import Injected
from tests.faults.page import PAGE, page, survived
from tests.faults.registry import REGISTRY, marked

EVERY = [f"F{number:02}" for number in range(1, 69)]


def test_the_registry_has_every_fault_of_the_catalogue_once() -> None:
    assert sorted(str(entry["id"]) for entry in REGISTRY) == EVERY
    cut = [entry["id"] for entry in REGISTRY if set(entry) - {"open"} != {"id", "fault", "expected"}]
    assert not cut, f"a comma ends an unquoted text: put those of {cut} in quotes"


def test_every_registered_fault_is_injected_by_a_test_or_says_why_not() -> None:
    missing = sorted({entry["id"] for entry in REGISTRY if not entry.get("open")} - set(marked()))
    assert not missing, (
        f"no test carries pytest.mark.fault for {missing}; write one, or say `open: why` in the registry"
    )


def test_every_injected_fault_is_registered() -> None:
    unknown = {fault: places for fault, places in marked().items() if fault not in EVERY}
    assert not unknown, f"add these to tests/faults/registry.yaml: {unknown}"


def test_the_page_has_a_row_for_every_fault_and_the_readme_its_figure() -> None:
    text = PAGE.read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| F")}
    assert sorted(rows) == EVERY, "run `make faults`"
    for entry in REGISTRY:
        assert str(entry["fault"]).replace("|", "/") in rows[entry["id"]], "run `make faults`"
    assert survived(text) == (sum("| yes |" in row for row in rows.values()), len(EVERY))
    assert readme.README.read_text() == readme.with_figure(readme.README.read_text()), "run `make faults`"


def test_a_fault_without_a_test_that_passed_or_with_one_that_was_skipped_is_not_survived(
    tmp_path: Path,
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    fault(id): one\n")
    (tmp_path / "test_one.py").write_text("""
import pytest

@pytest.mark.fault("F01")
@pytest.mark.fault("F02")
def test_passes():
    pass

@pytest.mark.fault("F02")
@pytest.mark.parametrize("number", [1, 2])
def test_is_skipped_in_part(number):
    if number == 2:
        pytest.skip("no root here")

@pytest.mark.fault("F03")
def test_fails_as_it_cleans_up(request):
    request.addfinalizer(lambda: 1 / 0)

@pytest.mark.fault("F05")
def test_of_a_fault_that_nobody_chose():
    assert False
""")
    injected = Injected({"F01", "F02", "F03", "F04"})
    ours = ["-q", "-p", "no:cacheprovider", "-c", str(tmp_path / "pytest.ini"), "--rootdir", str(tmp_path)]
    assert pytest.main([*ours, str(tmp_path / "test_one.py")], plugins=[injected]) == pytest.ExitCode.TESTS_FAILED
    found = injected.results("2026-01-01")
    assert {fault: one["survived"] for fault, one in sorted(found.items())} == {
        "F01": True, "F02": False, "F03": False, "F04": False,
    }  # fmt: skip
    assert [test["outcome"] for test in found["F02"]["tests"]] == ["passed", "passed", "skipped"]
    made = page({"at": "2026-01-01T00:00:00", "survived": 1, "faults": found})
    assert "| 3 in `test_one.py` | **no**: 1 skipped |" in made
    assert survived(made) == (1, 68)
