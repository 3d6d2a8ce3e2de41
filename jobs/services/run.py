"""`python -m jobs.services.run [NAME]`: one service in the foreground, by the command that `tidemill up` gives it.

It is what a container starts; without a name, the service that the container is for (TIDEMILL_SERVICE).
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from jobs.errors import TidemillError
from jobs.services import places, supervisor
from jobs.services.ports import SERVING
from jobs.services.programs import Program, program, slots_of
from jobs.settings import Settings

_OWN_PIPE = ["/bin/bash", "-c", 'exec "$0" "$@" > >(exec cat)']
"""The supervisor opens its standard output anew for each slot, which somebody else's pipe or file would refuse."""


def run(settings: Settings, name: str) -> NoReturn:
    """Becomes the service: the process is replaced, so that signals and exit code are the service's own.

    Raises UsageError for a name that no service has.
    """
    wanted = _slots(settings, name) if name in SERVING else program(settings, name)
    os.chdir(wanted.folder)
    os.execve(wanted.command[0], wanted.command, supervisor.environment(settings) | wanted.environment)


def _slots(settings: Settings, name: str) -> Program:
    """The supervisor of all slots of one colour, which starts those that have something to serve."""
    places.sockets(settings)
    file = places.run_files(settings) / f"{name}.conf"
    places.write_private(file, supervisor.configuration(settings, slots_of(settings, name), name))
    command = [str(places.environment_python("serve").with_name("supervisord")), "--nodaemon", "-c", str(file)]
    return Program(name=name, command=[*_OWN_PIPE, *command], folder=places.home(settings))


def main(arguments: list[str]) -> None:
    """Runs the named service until it ends; what cannot be started is one line on standard error."""
    try:
        settings = Settings.load()
        run(settings, arguments[0] if arguments else settings.need("service"))
    except TidemillError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main(sys.argv[1:])
