"""Publishing: all or nothing, once, never backwards."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.batch import Batches
from jobs.errors import StalePublishError, TamperedError, UsageError
from jobs.storage import POINTER, current, publish, require, verify, write_atomically


def put(partition: Path, text: str, watermark: str = "2026-01-01", *, force: bool = False, key: str | None = None):
    def write(folder: Path) -> int:
        (folder / "part-00000.parquet").write_text(text)
        return len(text)

    return publish(partition, write, inputs={"text": key or text}, watermark=watermark, force=force)


@pytest.mark.parametrize("module", ["jobs.batch", "jobs.lake", "jobs.storage", "jobs.spec"])
def test_examples_in_docstrings_hold(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_a_published_version_is_read_back(tmp_path: Path) -> None:
    put(tmp_path, "one")
    found = require(tmp_path, "tidemill ingest")
    assert (found.epoch, found.manifest.rows) == (1, 3)
    assert [Path(path).read_text() for path in found.paths()] == ["one"]
    verify(found)


def test_the_same_inputs_are_a_no_op(tmp_path: Path) -> None:
    first, again = put(tmp_path, "one"), put(tmp_path, "one")
    assert (first.changed, again.changed) == (True, False)
    assert again.epoch == 1


@pytest.mark.fault("F10")
def test_an_older_backfill_is_refused_unless_forced_and_audited(tmp_path: Path) -> None:
    put(tmp_path, "new", "2026-01-10")
    with pytest.raises(StalePublishError, match="up to 2026-01-10, newer than 2026-01-09"):
        put(tmp_path, "old", "2026-01-09")
    assert Path(require(tmp_path, "").paths()[0]).read_text() == "new"
    assert put(tmp_path, "old", "2026-01-09", force=True).epoch == 2
    (line,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert json.loads(line)["watermarks"] == ["2026-01-10", "2026-01-09"]
    assert put(tmp_path, "newer", "2026-01-11").epoch == 3


def test_a_writer_that_raises_leaves_nothing(tmp_path: Path) -> None:
    put(tmp_path, "one")

    def fail(folder: Path) -> int:
        (folder / "part-00000.parquet").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        publish(tmp_path, fail, inputs={"text": "two"}, watermark="2026-01-02")
    assert Path(require(tmp_path, "").paths()[0]).read_text() == "one"
    assert not list(tmp_path.glob(".staging-*"))


def test_an_altered_manifest_or_file_is_told_and_repaired_by_force(tmp_path: Path) -> None:
    published = put(tmp_path, "one")
    (published.folder / "part-00000.parquet").write_text("two")
    with pytest.raises(TamperedError, match=r"part-00000\.parquet is missing or altered"):
        verify(published)
    put(tmp_path, "one", force=True)
    verify(require(tmp_path, ""))
    (current(tmp_path).folder / "manifest.json").write_text("{}")
    with pytest.raises(TamperedError, match="--force"):
        put(tmp_path, "one")
    assert put(tmp_path, "one", force=True).epoch == 3
    verify(require(tmp_path, ""))


def test_a_pointer_to_a_version_that_is_gone_is_told(tmp_path: Path) -> None:
    put(tmp_path, "one")
    pointer = json.loads((tmp_path / POINTER).read_text()) | {"version": "v-gone"}
    write_atomically(tmp_path / POINTER, json.dumps(pointer).encode())
    with pytest.raises(TamperedError, match="v-gone"):
        current(tmp_path)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9), st.booleans()), max_size=12))
def test_whatever_is_published_the_epoch_rises_and_the_newest_stays(tmp_path_factory, steps) -> None:
    """Against a model that holds only the content, the watermark and the epoch."""
    partition = tmp_path_factory.mktemp("partition")
    content: tuple[str, str] | None = None
    epoch = 0
    for text, day, force in steps:
        wanted = (str(text), f"2026-01-{day:02d}")
        same = content is not None and content[0] == wanted[0]
        stale = content is not None and wanted[1] < content[1]
        if same and not force:
            assert not put(partition, *wanted).changed
        elif stale and not force:
            with pytest.raises(StalePublishError):
                put(partition, *wanted)
        else:
            changed = put(partition, *wanted, force=force).changed
            assert changed is (content != wanted)
            epoch += changed
            content = wanted
        found = current(partition)
        assert (found.epoch if found else 0) == epoch
        if found and content:
            assert (Path(found.paths()[0]).read_text(), found.manifest.watermark) == content
            verify(found)
    assert len(list(partition.glob("v-*"))) <= 3


@pytest.mark.fault("F61")
@pytest.mark.parametrize(
    "text",
    ["2026-01-10\n", "2026-01-10; rm -rf x", "$(touch x)", "{{ var.value }}", "../2026-01-10", "2026-1-1", "2026-02-30",
     "9999-12-31", "2026-01-10..", "2026-01-10..2026-01-09", "’2026-01-10", "２０２６-01-10", ""],
)  # fmt: skip
def test_only_a_day_or_a_range_is_a_batch(text: str) -> None:
    with pytest.raises(UsageError):
        Batches.parse(text)
