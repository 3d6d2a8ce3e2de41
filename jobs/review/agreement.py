"""How far reviewers agree beyond chance: of all of them Krippendorff's alpha, of each one Cohen's kappa."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Verdict(NamedTuple):
    """What a reviewer said of an item."""

    item: str
    reviewer: str
    verdict: str


def alpha(verdicts: Sequence[Verdict]) -> float | None:
    """Krippendorff's alpha of nominal verdicts, 1 for full agreement and 0 for chance; None where it is undefined.

    1 - (n - 1) * D_o / D_e over the coincidences of pairs within items, items with one verdict left out
    (Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C). Undefined without a pair.
    """
    weights: dict[tuple[str, str], float] = defaultdict(float)
    for said in _by_item(verdicts).values():
        counts = Counter(said.values())
        several = len(said)
        if several < 2:
            continue
        for one, many in counts.items():
            for other, more in counts.items():
                weights[one, other] += (many * more - (many if one == other else 0)) / (several - 1)
    total = sum(weights.values())
    if not total:
        return None
    marginal: dict[str, float] = defaultdict(float)
    for (one, _), weight in weights.items():
        marginal[one] += weight
    observed = sum(weight for (one, other), weight in weights.items() if one != other)
    expected = total**2 - sum(count**2 for count in marginal.values())
    return 1 - (total - 1) * observed / expected if expected else 1.0


def kappas(verdicts: Sequence[Verdict]) -> Mapping[str, tuple[float | None, int]]:
    """Of each reviewer Cohen's kappa with every other who judged the same items, and how many such pairs there are.

    None where it is undefined: without a pair, or where everybody only ever said the same.
    """
    from sklearn.metrics import cohen_kappa_score

    mine: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for said in _by_item(verdicts).values():
        for reviewer, verdict in said.items():
            for other, theirs in said.items():
                if other != reviewer:
                    mine[reviewer][0].append(verdict)
                    mine[reviewer][1].append(theirs)
    found = {}
    for reviewer in sorted({one.reviewer for one in verdicts}):
        ours, theirs_all = mine[reviewer]
        told = len({*ours, *theirs_all}) > 1
        found[reviewer] = (float(cohen_kappa_score(ours, theirs_all)) if told else None, len(ours))
    return found


def _by_item(verdicts: Sequence[Verdict]) -> dict[str, dict[str, str]]:
    """Of each item what each reviewer said last."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for one in verdicts:
        found[one.item][one.reviewer] = one.verdict
    return found
