"""The errors a person is meant to read, named by who must act.

TidemillError
├── UsageError          the command line (exit 2): a batch, run or project that does not parse
├── SpecError           whoever declared the project
├── SettingError        whoever set up this machine
├── MachineError        whoever runs this machine: a disk is full, memory is, or it has too much to do
├── MissingBatchError   nothing there yet; names the command that writes it
├── DataRejected        whoever delivered the data
├── StalePublishError   an older input tried to replace a newer one
├── TamperedError       a file's digest differs from its manifest
├── GateRejected        a finding about a model, not a fault
├── StaleEpochError     somebody else promoted first
├── ServiceError        a service did not answer
└── NothingToDo         not a fault: exit 99, which Airflow shows as skipped

The command line prints one line for these and a traceback for everything else:
an unexpected error must look unexpected.
"""

from __future__ import annotations

import errno

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class TidemillError(Exception):
    """Base of every error whose message ends with what to do next."""

    exit_code = 1


class UsageError(TidemillError):
    """An argument that does not parse; nothing was started."""

    exit_code = 2


class SpecError(TidemillError):
    """A project declaration that contradicts itself; lists every fault at once."""


class SettingError(TidemillError):
    """A setting that is missing or wrong on this machine."""


class MachineError(TidemillError):
    """A machine that is full or too busy; nothing was published, and the same command works once there is room."""


class MissingBatchError(TidemillError):
    """A partition that has not been written yet; names the command that writes it."""


class DataRejected(TidemillError):
    """Delivered data that breaks its contract; the batch is held and its bytes are kept."""


class StalePublishError(TidemillError):
    """A publish whose input watermark is older than what is already published."""


class TamperedError(TidemillError):
    """A file whose bytes differ from the digest its manifest states."""


class GateRejected(TidemillError):
    """A challenger that did not pass the gate; the verdict is stored beside it."""


class StaleEpochError(TidemillError):
    """A compare-and-set that lost its race; the state it saw is no longer current."""


class ServiceError(TidemillError):
    """A service (database, registry, router) that did not answer within its deadline."""


class NothingToDo(TidemillError):
    """There was nothing to do: exit code 99, shown by Airflow as skipped."""

    exit_code = 99


def of_machine(error: BaseException | None) -> MachineError | None:
    """The same as an error of the machine, if that or what it came from is one: libraries say so in words of their own."""
    while error is not None:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, MemoryError) or any(sign in text for sign in ("OutOfMemory", "bad_alloc")):
            return MachineError(
                f"memory ran out ({_first_line(text)}); nothing of this was published. Take fewer days at once "
                "(--batch FROM..TO), run fewer tasks beside it, or run the stage on a larger machine (TIDEMILL_COMPUTE, "
                "docs/storage-and-compute.md)"
            )
        if getattr(error, "errno", None) in _FULL or "No space left on device" in text:
            return MachineError(
                f"a disk is full ({_first_line(text)}); nothing of this was published. Make room there, and run the "
                "same command again"
            )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _first_line(text: str) -> str:
    return text.splitlines()[0][:200]
