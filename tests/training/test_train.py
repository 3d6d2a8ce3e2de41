from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.errors import GateRejected, of_machine
from jobs.release.bundle import verify_bundle
from jobs.release.ledger import Ledger
from jobs.release.scorer import FEW_ROWS, Scorer
from jobs.settings import ROOT
from jobs.stages import evaluate, gate, register, train
from jobs.storage import current
from jobs.training.candidates import read_training
from jobs.training.frame import read_frame
from jobs.training.tuning import tune
from tests.disks import small_disk
from tests.training.runs import RUN
from tests.training.synthetic import frame, publish_snapshot, small_project


def candidate(trained, library):
    return current(trained.run / "candidates" / "fraud" / library)


def test_the_same_snapshot_gives_the_same_bytes_and_a_second_call_does_nothing(finished, own):
    publish_snapshot(own, RUN, frame())
    first = train.run(finished.project, own, run=RUN)
    again = train.run(finished.project, own, run=RUN)
    for library, found in first.facts["models"]["fraud"].items():
        assert found["digest"] == candidate(finished, library).digest, library
        assert found["trained"], library
        assert not again.facts["models"]["fraud"][library]["trained"], library
    assert first.facts["mlflow"] == "unreachable"
    assert first.facts["models"]["fraud"]["xgboost"]["trials"] == 3


TRAIN = """
import json, sys
from jobs.stages import train
from tests.training.runs import home_of
from tests.training.synthetic import frame, publish_snapshot, small_project
from pathlib import Path
settings = home_of(Path(sys.argv[1]))
publish_snapshot(settings, "seeds", frame())
found = train.run(small_project(2), settings, run="seeds").facts["models"]["fraud"]
print(json.dumps({library: candidate["digest"] for library, candidate in found.items()}))
"""


def test_two_processes_train_the_same_candidates_from_the_same_snapshot(tmp_path):
    digests = []
    for name in ("one", "two"):
        environment = {**os.environ, "PYTHONHASHSEED": str(len(digests)), "OMP_NUM_THREADS": str(1 + len(digests))}
        asked = [sys.executable, "-c", TRAIN, str(tmp_path / name)]
        done = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        digests.append(json.loads(done.stdout.splitlines()[-1]))
    assert digests[0] == digests[1]
    assert set(digests[0]) == {"rule", "logistic_regression", "xgboost", "lightgbm"}


def test_a_candidate_says_how_imbalance_was_treated_and_what_its_probabilities_were_calibrated_on(finished):
    plan = read_frame(finished.project, finished.project.models[0], current(finished.run / "snapshot")).plan
    for library in ("xgboost", "lightgbm"):
        training = read_training(candidate(finished, library))
        found = training["imbalance"]
        assert set(found["compared"]) == {"none", "weight", "sampling"}
        assert all(one["trials"] == 1 for one in found["compared"].values())
        values = {name: one["best"] for name, one in found["compared"].items() if one["finished"]}
        assert found["chosen"] == max(values, key=values.get) == training["params"]["imbalance"]
        assert training["model"]["correction"] == found["kept"]
        calibration = training["model"]["calibration"]
        assert calibration["method"] == min(calibration["compared"], key=calibration["compared"].get)
        judged = {tuple(fold["test"]): fold["metrics"] for fold in training["folds"]}
        assert len(judged) == len(plan.validation)
        assert 0.7 < judged[tuple(plan.calibration.document()["test"])]["mean_prediction_ratio"] < 1.4
        mean = np.mean([metrics["average_precision"] for metrics in judged.values()])
        assert training["validation"]["average_precision"] == pytest.approx(mean)


def test_every_stage_repeated_gives_the_same_answer_even_after_the_promotion(broken):
    project, settings = broken.project, broken.settings
    before = [stage.run(project, settings, run=RUN).facts for stage in (evaluate, gate, register)]
    with Ledger(settings.need("database_url")) as ledger:
        ledger.promote(project.name, 0, broken.challenger.release, broken.challenger.digest)
    after = [stage.run(project, settings, run=RUN).facts for stage in (evaluate, gate, register)]
    assert before[:2] == after[:2]
    assert {**before[2], "challenger": False} == after[2]
    with Ledger(settings.need("database_url")) as ledger:
        assert ledger.challenger(project.name) is None


@pytest.mark.fault("F19")
@pytest.mark.fault("F15")
def test_a_tuning_killed_in_a_trial_and_then_out_of_disk_goes_on_to_the_same_answer(finished, tmp_path):
    model = replace(finished.project.models[0], trials=4)
    data = read_frame(finished.project, model, current(finished.run / "snapshot"))
    with small_disk(tmp_path / "disk") as disk:
        journal = disk.folder / "a.log"
        command = [sys.executable, "-m", "tests.training.tuned", str(finished.settings.home), str(journal)]
        tuning = subprocess.Popen(command, cwd=ROOT)
        _, status = os.waitpid(tuning.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "it ended before its second trial"
        tuning.kill()
        assert tuning.wait(20) == -signal.SIGKILL
        assert states(journal) == ["COMPLETE", "RUNNING"]
        disk.fill()
        with pytest.raises((OSError, AssertionError)) as full:
            tune(model, "lightgbm", data, study="s", storage=journal)
        assert "a disk is full" in str(of_machine(full.value))
        disk.empty()
        with journal.open("ab") as file:
            file.write(b'{"op_code": 6, "trial_id"')  # as far as the last of the room went
        resumed = tune(model, "lightgbm", data, study="s", storage=journal)
        assert states(journal)[:2] == ["COMPLETE", "FAIL"]
    straight = tune(model, "lightgbm", data, study="s", storage=tmp_path / "b.log")
    assert resumed == straight
    assert len(resumed.trials) == 4


def states(journal):
    """How each trial of the study is, as Optuna itself reads it."""
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    study = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))
    return [trial.state.name for trial in study.trials]


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "logistic_regression"])
def test_a_row_alone_scores_as_it_does_in_a_batch(finished, library):
    published = candidate(finished, library)
    scorer = Scorer.load(published.folder, {"models": [read_training(published)["model"]]})
    vectors = read_frame(finished.project, finished.project.models[0], current(finished.run / "snapshot")).rows.vectors
    many = scorer.score(vectors[: FEW_ROWS + 200])
    few = np.concatenate([scorer.score(vectors[row : row + 1]) for row in range(60)])
    assert few.tobytes() == many[:60].tobytes()
    assert ((many >= 0) & (many <= 1)).all()
    assert scorer.score(vectors[:0]).shape == (0,)
    with pytest.raises(ValueError, match=f"{vectors.shape[1]} inputs"):
        scorer.score(vectors[:2, :3])


def test_trees_beat_the_line_and_the_rule_on_what_they_have_not_seen(finished):
    found = evaluate.run(finished.project, finished.settings, run=RUN).facts["models"]["fraud"]
    ours = found["challenger"]["average_precision"]
    assert ours > max(baseline["average_precision"] for baseline in found["baselines"].values())
    assert found["intervals"]["average_precision"]["low"] < ours < found["intervals"]["average_precision"]["high"]
    for baseline in ("rule", "logistic_regression"):
        difference = found["differences"][baseline]["average_precision"]
        assert 0 < difference["low"] < difference["difference"] < difference["high"]
    assert found["champion"] is None


def test_the_release_holds_what_drift_and_readiness_compare_with(finished):
    manifest = verify_bundle(finished.bundle, finished.challenger.digest)
    inputs = finished.project.models[0].inputs
    reference = pq.read_table(finished.bundle / "reference.parquet")
    assert reference.column_names == ["event_time", *inputs, "score"]
    judged = read_frame(finished.project, finished.project.models[0], current(finished.run / "snapshot"))
    assert len(reference) == sum(len(judged.judged(fold)) for fold in judged.plan.folds)
    unscored = np.isnan(np.asarray(reference["score"]))
    learned = np.isin(np.asarray(reference["event_time"].cast("int64")), judged.of("train").event_time)
    assert unscored.any()
    assert (unscored <= learned).all(), "only what the release learned from has no score"
    parity = json.loads((finished.bundle / "parity.json").read_bytes())["models"]["fraud"]
    assert np.array(parity["vectors"]).shape == (1000, len(inputs))
    decisions = manifest["decisions"]
    assert (np.asarray(reference["score"]) >= decisions["review"]).mean() < 0.1
    assert decisions["review"] <= decisions["decline"]
    card = (finished.bundle / "fraud-card.md").read_text()
    assert "Intended use" in card
    assert "| logistic_regression |" in card


def test_a_negative_control_is_refused_with_numbers_and_never_registered(broken):
    project, settings = broken.project, broken.settings
    with Ledger(settings.need("database_url")) as ledger:
        ledger.promote(project.name, 0, broken.challenger.release, broken.challenger.digest)
    publish_snapshot(settings, "control", frame(negative_control=True), negative_control=True)
    for stage in (train, evaluate):
        stage.run(small_project(1), settings, run="control")
    result = gate.run(small_project(1), settings, run="control")
    assert result.exit_code == 1
    assert result.facts["verdict"] == "REJECT"
    failed = {check["name"] for check in result.facts["checks"] if not check["passed"]}
    assert {"labels", "fraud: average_precision at least", "fraud: average_precision against the champion"} <= failed
    with pytest.raises(GateRejected, match="negative control"):
        register.run(small_project(1), settings, run="control")
    with Ledger(settings.need("database_url")) as ledger:
        assert ledger.champion(project.name).release == broken.challenger.release
        assert ledger.challenger(project.name) is None
        assert ledger.verdicts(project.name, "gate", limit=1)[0].verdict == "REJECT"
