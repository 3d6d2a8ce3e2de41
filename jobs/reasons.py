"""How a model's inputs are told to a person, and what such a declaration must not say."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reason:
    """An input in words, for the person who reviews a decision."""

    input: str
    text: str
    """A format string of `value` and, by their names, of the model's other inputs: "paid {value:.2f} euros"."""
    zero: str | None = None
    """What is said where the value is 0; None says it as any other value."""

    def say(self, value: float, inputs: dict[str, float]) -> str:
        """The sentence about a value; `inputs` are the model's inputs by name."""
        text = self.zero if value == 0 and self.zero is not None else self.text
        return text.format(**inputs, value=value)


def faults_of_reasons(reasons: Sequence[Reason], inputs: Sequence[str]) -> Iterable[str]:
    """A sentence for each fault of a model's reasons, given the names of its inputs."""
    named = [reason.input for reason in reasons]
    for name in sorted({name for name in named if named.count(name) > 1}):
        yield f"input {name!r} has two reasons"
    for reason in reasons:
        if reason.input not in inputs:
            yield f"the reason for {reason.input!r} is about no input; there are {', '.join(inputs)}"
        for text in filter(None, (reason.text, reason.zero)):
            try:
                fields = [
                    (field, convert) for _, field, _, convert in string.Formatter().parse(text) if field is not None
                ]
                unknown = [field for field, convert in fields if convert or field not in ("value", *inputs)]
                if not unknown:
                    text.format(**dict.fromkeys(inputs, 1.5), value=1.5)
            except (ValueError, IndexError) as error:
                yield f"the reason for {reason.input!r} is no format of a number: {text!r} ({error})"
            else:
                if unknown:
                    yield f"the reason for {reason.input!r} uses {unknown[0]!r}, which is neither value nor an input"
