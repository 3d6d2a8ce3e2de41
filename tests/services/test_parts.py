"""The parts of `tidemill up` that need no server: secrets, ports, configuration, Java, processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from configparser import ConfigParser
from datetime import date
from pathlib import Path

import pytest

from jobs import storage
from jobs.errors import SettingError, UsageError
from jobs.lake import Lake
from jobs.projects import PROJECTS
from jobs.rollout.slots import Slots
from jobs.services import (
    airflow,
    credentials,
    describe,
    doctor,
    health,
    java,
    places,
    processes,
    programs,
    state,
    supervisor,
)
from jobs.services.ports import SLOTS, offsets, outgoing, port
from jobs.services.programs import Program
from jobs.settings import ROOT, Settings


def test_credentials_are_made_once_and_only_their_owner_may_read_them(settings: Settings) -> None:
    first = credentials.ensure(settings)
    assert credentials.ensure(settings) == first
    assert credentials.path(settings).stat().st_mode & 0o777 == 0o600
    assert len({first.airflow, first.mlflow, first.api_key, first.spark, *first.databases.values()}) == 9


def test_what_settings_env_says_is_what_a_command_reads(settings: Settings) -> None:
    file = credentials.write_settings(settings)
    read = Settings(_env_file=file, home=settings.home)  # type: ignore[call-arg]
    assert file.stat().st_mode & 0o777 == 0o600
    assert read.need("api_key") == credentials.ensure(settings).api_key
    assert read.need("database_url") == credentials.database_url(settings, "tidemill")
    assert read.supervisor_socket == places.supervisor_socket(settings)


def test_no_two_services_share_a_port_and_every_slot_has_one(settings: Settings) -> None:
    numbers = [port(settings, name) for name in offsets()]
    assert len(set(numbers)) == len(numbers)
    assert {f"serve-{name}-{slot}" for name in PROJECTS for slot in SLOTS} <= set(offsets())
    with pytest.raises(SettingError, match="no service 'serve-nothing-blue'"):
        port(settings, "serve-nothing-blue")


def test_services_with_hosts_of_their_own_are_called_by_name_and_listen_there(tmp_path: Path) -> None:
    sockets = tmp_path / "s"
    named = Settings(_env_file=None, home=tmp_path, hosts="named", port_base=8700, sockets=sockets)  # type: ignore[call-arg]
    told = credentials.values(named)
    known = credentials.ensure(named)
    assert told["TIDEMILL_AIRFLOW_URL"] == "http://airflow-api-server:8702"
    assert told["TIDEMILL_ROUTER_ADMIN_URL"] == "http://router:8701"
    assert told["TIDEMILL_DATABASE_URL"] == f"postgresql://tidemill:{known.databases['tidemill']}@postgres/tidemill"
    assert told["TIDEMILL_SPARK_REMOTE"] == f"sc://spark-connect:8704/;authorization=Bearer%20{known.spark}"
    assert told["TIDEMILL_ONLINE_STORE_URL"] == f"redis://:{known.redis}@redis:6379/0"
    assert airflow.environment(named)["AIRFLOW__API__HOST"] == "0.0.0.0"
    assert places.supervisor_socket(named, "serve-blue") == sockets / "serve-blue.sock"
    with pytest.raises(UsageError, match="no service is called 'nothing'"):
        programs.program(named, "nothing")


def test_a_supervisor_of_slots_starts_what_has_a_release_and_writes_to_no_file(tmp_path: Path) -> None:
    named = Settings(_env_file=None, home=tmp_path, hosts="named")  # type: ignore[call-arg]
    Slots(named).assign("fraud", "blue", "r-0", "0" * 64, 1, tmp_path)
    read = ConfigParser(interpolation=None)
    read.read_string(supervisor.configuration(named, programs.slots_of(named, "serve-blue"), "serve-blue"))
    slots = {name.removeprefix("program:"): read[name] for name in read.sections() if name.startswith("program:")}
    assert set(slots) == {f"serve-{name}-blue" for name in PROJECTS}
    assert {name for name, one in slots.items() if one["autostart"] == "true"} == {"serve-fraud-blue"}
    assert {one["stdout_logfile"] for one in slots.values()} == {"/dev/fd/1"}


def test_a_health_check_says_what_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(["no-such-service"]) == 1
    assert "SettingError: no service 'no-such-service' has a port" in capsys.readouterr().err


def test_a_socket_path_is_short_however_deep_the_home_is(tmp_path: Path) -> None:
    deep = Settings(_env_file=None, home=tmp_path.joinpath(*["deeply"] * 30))  # type: ignore[call-arg]
    assert len(os.fsencode(places.sockets_path(deep) / "pg" / ".s.PGSQL.5432.lock")) <= 107


def test_a_socket_folder_that_somebody_else_made_is_refused(settings: Settings, tmp_path: Path) -> None:
    folder = places.sockets_path(settings)
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(SettingError, match="belongs to somebody else"):
            places.sockets(settings)
    finally:
        folder.unlink()


def test_the_supervisor_reads_commands_and_secrets_as_they_were_written(settings: Settings, tmp_path: Path) -> None:
    from supervisor.options import ServerOptions

    program = Program(
        name="one",
        command=["/bin/echo", "100% sure", "a;b", "x=y"],
        environment={"PASSWORD": "50%,'quoted' =#;x", "URL": "postgresql://a:b@/c?host=/tmp/d"},
        folder=tmp_path,
    )
    file = tmp_path / "supervisord.conf"
    file.write_text(supervisor.configuration(settings, [program]))
    options = ServerOptions()
    options.realize(["-c", str(file)])
    (group,) = options.process_group_configs
    (read,) = group.process_configs
    assert read.environment == program.environment
    assert read.command == '"/bin/echo" "100% sure" "a;b" "x=y"'
    assert (read.stopasgroup, read.killasgroup, read.autostart) == (True, True, False)


def test_airflow_listens_on_loopback_and_its_secrets_are_ours(settings: Settings) -> None:
    found = airflow.environment(settings)
    assert found["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert found["AIRFLOW__API_AUTH__JWT_SECRET"] == credentials.ensure(settings).airflow_jwt
    passwords = Path(found["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    assert passwords.stat().st_mode & 0o777 == 0o600
    assert airflow.environment(settings, "sqlite:////tmp/a.db")["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith(
        "sqlite"
    )


def test_without_java_the_packaged_one_runs_and_drops_the_flag_it_lacks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    home = java.java_home(settings)
    assert home.is_relative_to(settings.home)
    command = [str(home / "bin" / "java"), "--add-modules=jdk.incubator.vector", "-version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert 'version "21' in ran.stderr


@pytest.mark.parametrize(("version", "used"), [("1.8.0_402", False), ("17.0.9", True), ("21.0.1", True), ("25", False)])
def test_only_a_java_that_spark_runs_on_is_used(
    version: str, used: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(mode=0o755)
    (tmp_path / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    assert java.machine_java() == (tmp_path if used else None)


def test_orphans_are_found_by_marker_session_and_descent_and_ended_even_if_deaf(settings: Settings) -> None:
    deaf = "trap '' TERM; env -i sleep 300 & setsid env -i sleep 300 & echo up; wait; wait"
    marked = {places.MARKER: str(places.home(settings)), "PATH": os.environ["PATH"]}
    with subprocess.Popen(
        ["/bin/bash", "-c", deaf], env=marked, start_new_session=True, stdout=subprocess.PIPE
    ) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        deadline = time.monotonic() + 10
        while len(found := processes.ours(settings)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(found) == 3
        assert os.getpid() not in {process.pid for process in found}
        assert processes.end(settings, grace=0.5) == 3
    assert processes.ours(settings) == []
    assert shell.returncode == -signal.SIGKILL


def test_who_holds_a_port_is_named() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        number = held.getsockname()[1]
        assert processes.holders([number]) == {
            number: f"pid {os.getpid()} ({Path('/proc/self/comm').read_text().strip()})"
        }
    assert processes.holders([number]) == {}


def test_ports_that_the_kernel_gives_away_are_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert outgoing(settings.model_copy(update={"port_base": first - max(offsets().values()) - 1})) == ""
    within = settings.model_copy(update={"port_base": first - max(offsets().values())})
    assert f"to {first} reach into {first} to" in outgoing(within)
    monkeypatch.setattr(Settings, "load", classmethod(lambda _: within))
    notes = [check["found"] for check in doctor.examine().facts["checks"] if check["ok"] is None]
    assert outgoing(within) in notes


def test_the_pins_are_the_versions_that_were_tried() -> None:
    jobs, serve, orchestrate = doctor.pins("jobs"), doctor.pins("serve"), doctor.pins("orchestrate")
    assert serve["bentoml"] == "1.4.39"
    assert orchestrate["apache-airflow-core"] == "3.3.2"
    assert (jobs["mlflow"], jobs["dbt-core"], jobs["pyspark"]) == ("3.17.2", "1.11.16", "4.3.0")
    assert jobs["evidently"] == "0.7.23"
    assert int(jobs["pandas"].split(".")[0]) < 3
    assert not any("nvidia" in name for name in jobs)


@pytest.mark.parametrize("environment", ["orchestrate", "jobs", "serve"])
def test_what_is_installed_is_what_was_pinned(environment: str) -> None:
    wanted, present = doctor.pins(environment), doctor.installed(environment)
    assert {name: present.get(name) for name in wanted} == wanted, "run `make environments`"


def test_no_pin_file_names_an_index_or_a_machine() -> None:
    for file in (ROOT / "requirements").glob("*.txt"):
        assert "--index-url" not in file.read_text(), file.name
        assert "/home/" not in file.read_text(), file.name


def test_the_doctor_says_when_others_may_read_the_credentials(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials.ensure(settings)
    monkeypatch.setattr(Settings, "load", classmethod(lambda _: settings))
    report = {check["name"]: check for check in doctor.examine().facts["checks"]}
    assert report["credentials"]["ok"]
    credentials.path(settings).chmod(0o644)
    result = doctor.examine()
    report = {check["name"]: check for check in result.facts["checks"]}
    assert result.exit_code == 1
    assert not report["credentials"]["ok"]
    assert "chmod 600" in report["credentials"]["fix"]
    assert "others may read them" in result.line


@pytest.mark.parametrize(
    ("url", "found", "fix"),
    [
        ("sqlite:///{home}/online", "/online/ answers", ""),
        ("redis://:secret@127.0.0.1:1/0", "Redis at 127.0.0.1:1, does not answer", "TIDEMILL_ONLINE_STORE_URL"),
        ("mysql://me:secret@127.0.0.1/x", "no such kind", "it must be sqlite:///FOLDER, redis://"),
    ],
)
def test_the_doctor_asks_the_online_store(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str, found: str, fix: str
) -> None:
    settings = settings.model_copy(update={"online_store_url": url.format(home=settings.home)})
    monkeypatch.setattr(Settings, "load", classmethod(lambda _: settings))
    result = doctor.examine()
    report = {check["name"]: check for check in result.facts["checks"]}["online store"]
    assert found in report["found"]
    assert fix in report["fix"]
    assert report["ok"] == (not fix)
    assert "secret" not in result.line


def test_every_hook_of_a_project_is_found_and_one_that_is_absent_is_said_to_be() -> None:
    for project in PROJECTS.values():
        found = describe.hooks(project)
        assert set(found) == {"etl.clean", "features.request", "features.rule", "simulate.day"}
        ruled = any("rule" in model.baselines for model in project.models)
        assert {name for name, signature in found.items() if not signature} <= (set() if ruled else {"features.rule"})
        assert len(describe.dags(project)) == 4
        assert describe.explain(project).facts["serving"].keys() == set(SLOTS)


def test_status_knows_the_newest_published_batch_and_ignores_one_half_written(settings: Settings, lake: Lake) -> None:
    project = next(iter(PROJECTS.values()))
    source = project.sources[0].name
    assert set(state.newest(project, lake).values()) == {None}
    done = lake.raw(project.name, source, date(2026, 1, 3))
    storage.publish(
        done, lambda folder: (folder / "part-00000.parquet").write_bytes(b"x") and 1, inputs={}, watermark="2026-01-03"
    )
    lake.raw(project.name, source, date(2026, 1, 4)).mkdir(parents=True)
    assert state.newest(project, lake)[f"raw {source}"] == "2026-01-03"


def test_a_glance_says_champion_canary_drift_and_the_last_verdict() -> None:
    verdict = {"verdict": "PROMOTE", "kind": "gate", "subject": "first", "at": "2026-01-05T10:20:30+00:00"}
    drift = verdict | {"kind": "drift", "verdict": "RETRAIN", "finding": "drift", "subject": "2026-01-04"}
    release = {
        "champion": {"release": "r-1", "epoch": 3},
        "rollout": {"release": "r-2", "state": "walking", "percent": 25},
        "verdicts": [verdict, drift],
    }
    found = {"newest": {"spine": "2026-01-04"}, "release": release}
    assert list(state.glance(found).values()) == [
        "r-1, epoch 3", "r-2 at 25 %", "2026-01-04", "drift on 2026-01-04", "gate: PROMOTE, 2026-01-05T10:20",
    ]  # fmt: skip
    ended = found | {"release": release | {"champion": None, "rollout": {"state": "rolled_back"}, "verdicts": []}}
    assert list(state.glance(ended).values()) == ["none", "none", "2026-01-04", "not looked at", "none"]
    unknown = {"newest": {"spine": None}, "release": {"unknown": "the ledger's database does not run"}}
    assert set(state.glance(unknown).values()) == {"unknown", "none"}


def test_down_before_any_up_has_nothing_to_do(tmp_path: Path) -> None:
    environment = os.environ | {"TIDEMILL_HOME": str(tmp_path / "none")}
    ran = subprocess.run(
        [sys.executable, "-m", "jobs", "down"], env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "nothing runs: there is no installation here")
    assert not (tmp_path / "none").exists()
