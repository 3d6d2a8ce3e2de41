"""Inputs that are yes or no, by the thousand: declared as one block, kept as the bits of a few whole numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BITS = 48
"""Flags in a number: a double holds whole numbers up to 2**53, and JSON writes them so that the same bits are read."""


@dataclass(frozen=True, kw_only=True)
class Flags:
    """A block of yes or no at the end of a model's inputs, such as which hashed words a text has.

    `features.request` sets flag n as bit `n % 48` of the block's number `n // 48`. Vectors are kept, logged and replayed
    as these numbers; what learns and scores sees every flag, and what tells a person sees the block as one input.
    """

    name: str
    numbers: int

    @property
    def size(self) -> int:
        """How many flags there are."""
        return self.numbers * BITS

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the numbers, in their order."""
        return tuple(f"{self.name}_{number:03d}" for number in range(self.numbers))


def faults_of_flags(flags: Flags | None, inputs: Sequence[str], increasing: Sequence[str]) -> Iterable[str]:
    """A sentence for each fault of a model's flags, given all of its inputs and those bound to increase."""
    if flags is None:
        return
    if flags.numbers < 1:
        yield f"flags {flags.name!r} have no number"
    elif tuple(inputs[-flags.numbers :]) != flags.inputs:
        yield f"flags {flags.name!r} have to be the last of its inputs, {flags.inputs[0]} to {flags.inputs[-1]}"
    if flags.name in inputs:
        yield f"flags {flags.name!r} are called like an input"
    for name in sorted(set(increasing) & set(flags.inputs)):
        yield f"increasing names {name!r}, which is 48 flags and no number"
