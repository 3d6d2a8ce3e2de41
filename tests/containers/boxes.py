"""The services of docker/compose.yaml without a Docker engine: each in its image's root, confined as the file says.

A box has a mount and a process namespace of its own: the image is mounted read-only, its volumes and temporary
folders over it, and the command runs as the file's user without any capability. All boxes share one network
namespace that has nothing but loopback, where every service's name stands for an address; how Docker keeps
networks apart is not shown by this.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.containers.build import Image


class Boxes:
    """The services of a compose file in these images, started one by one; `close` ends all of them."""

    def __init__(
        self, compose: Mapping[str, Any], images: Mapping[str, Image], folder: Path, settings: Mapping[str, str]
    ) -> None:
        self._compose, self._images, self._folder, self._settings = compose, images, folder, settings
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        names = sorted(compose["services"])
        hosts = [f"127.0.1.{number} {name}" for number, name in enumerate(names, 1)]
        (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts]) + "\n")
        self._network = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"])
        time.sleep(0.5)

    def volume(self, name: str) -> Path:
        """A named volume: a folder that belongs to whom all services run as, as Docker's first mount makes it."""
        path = self._folder / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            subprocess.run(["chown", "10001:10001", str(path)], check=True)
            path.chmod(0o700)
        return path

    def start(self, name: str) -> None:
        """Starts a service by its own command, or its image's; its output is kept in a log."""
        service = self._compose["services"][name]
        command = service.get("command") or ["python", "-m", "jobs.services.run"]
        with self.log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(
                self._confined(service, command), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """What a command in a box of that service comes to."""
        service = self._compose["services"][name]
        return subprocess.run(self._confined(service, list(command)), capture_output=True, text=True, check=False)

    def healthy(self, name: str) -> bool:
        """Whether the service's own health check, run where the service runs, succeeds."""
        kind, *test = self._compose["services"][name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(name, *test).returncode == 0

    def wait(self, name: str, seconds: float) -> float:
        """How long the service took to be healthy; fails with the end of its log when it is not in time."""
        began = time.monotonic()
        while not self.healthy(name):
            taken = time.monotonic() - began
            ended = self.running[name].poll()
            if ended is not None or taken > seconds:
                raise AssertionError(
                    f"{name}: exit code {ended} after {taken:.0f} s\n{self.log(name).read_text()[-3000:]}"
                )
        return time.monotonic() - began

    def inside(self, *command: str) -> list[str]:
        """A command of this machine's own in the boxes' network."""
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", *command]

    def known(self, *command: str) -> list[str]:
        """The same where the user of the boxes has a name, which PostgreSQL asks for."""
        passwd = self._images["jobs"].root / "etc" / "passwd"
        return self.inside(
            "unshare", "--mount", "sh", "-c", f"mount --bind {passwd} /etc/passwd && exec {shlex.join(command)}"
        )

    def log(self, name: str) -> Path:
        """What a service has written."""
        return self._folder / f"{name}.log"

    def close(self) -> None:
        """Ends every box and their network."""
        for number, seconds in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
            for process in self.running.values():
                for first in _children(process.pid):
                    os.kill(first, number)
            for process in self.running.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
        self._network.kill()

    def _confined(self, service: Mapping[str, Any], command: list[str]) -> list[str]:
        image = self._images[str(service["image"]).partition(":")[0].removeprefix("tidemill/")]
        root = image.root
        mounts = [f"mount --bind {root} {root}", f"mount -o remount,bind,ro {root}", f"mount -t proc proc {root}/proc"]
        mounts += [f"mount --rbind /dev {root}/dev", f"mount --bind {self._folder}/hosts {root}/etc/hosts"]
        mounts += [f"mount -t tmpfs tmpfs {root}{one.partition(':')[0]}" for one in service["tmpfs"]]
        for volume in service["volumes"]:
            source, target, *_ = volume.split(":")
            mounts.append(f"mount --bind {self.volume(source)} {root}{target}")
        told = {**image.environment, **self._interpolated(service.get("environment", {})), **self._settings}
        user, _, group = service["user"].partition(":")
        entry = [
            "chroot", str(root), "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs",
            "--inh-caps=-all", "--bounding-set=-all", "env", "-i", "--chdir=/opt/tidemill",
            *(f"{name}={value}" for name, value in told.items()), *service.get("entrypoint", []), *command,
        ]  # fmt: skip
        script = " && ".join([*mounts, f"exec {shlex.join(entry)}"])
        return self.inside("unshare", "--mount", "--pid", "--fork", "--kill-child=SIGTERM", "sh", "-c", script)

    def _interpolated(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The file's values, with the defaults of what is taken from the shell."""
        return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in environment.items()}


def _children(pid: int) -> list[int]:
    """The first process of a box, whose end is the box's; the one above it only waits, and ignores being asked to end."""
    with suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
