"""Card payments of a made-up town: customers with habits, four kinds of fraud, and a shift.

Three are those of the Fraud Detection Handbook (chapter 3): amounts over 220, a terminal compromised for four
weeks, a stolen card that spends five times as much for two weeks. The fourth is no matter of more or less: found
cards are used at night for amounts just below those that ask for a PIN. After the shift all amounts
are 1.6 times as high, and stolen card numbers are tried out at night in bursts of small payments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.simulated import times

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

CUSTOMERS, TERMINALS = 2_000, 4_000
REACH = 6.0
"""How far from home, in a town of 100 by 100, a customer's terminals are."""
DAYS_COMPROMISED, DAYS_STOLEN = 28, 14
TERMINALS_COMPROMISED_A_DAY, CARDS_STOLEN_A_DAY = 1.2, 1.8
OVER_LIMIT = 220.0
INFLATION = 1.6
CARDS_TESTED_A_NIGHT = 4
CARDS_FOUND_A_NIGHT = 12
BELOW_PIN = 47.0, 50.0
_DAY = 86_400


@dataclass(frozen=True)
class Town:
    """Who lives where and spends how: fixed by the seed."""

    mean_amount: Floats
    payments_a_day: Floats
    terminals: tuple[Ints, ...]
    """The terminals each customer uses."""


@dataclass(frozen=True)
class Payments:
    """One day's payments in the order they happen."""

    second: Ints
    customer: Ints
    terminal: Ints
    cents: Ints
    fraud: Flags
    reported_after: Ints
    """Days until the fraud is reported, 1 to 6; 0 for genuine payments."""


def day(date: date, seed: int, drift_from: date | None = None) -> Mapping[str, pa.Table]:
    """What the producers know by the end of one day: its payments, and the frauds reported on it.

    The same arguments give the same rows. From `drift_from` on, payments follow the shifted pattern.
    """
    payments = _payments(date, seed, drift_from)
    return {
        "transactions": pa.table(
            {
                "transaction_id": pa.array(_ids(date, len(payments.second)), pa.string()),
                "event_time": times(date, payments.second),
                "customer_id": pa.array([f"C{i:04d}" for i in payments.customer], pa.string()),
                "terminal_id": pa.array([f"T{i:04d}" for i in payments.terminal], pa.string()),
                "amount_cents": pa.array(payments.cents, pa.int64()),
            }
        ),
        "fraud_reports": _reports(date, seed, drift_from),
    }


@lru_cache(maxsize=4)
def _town(seed: int) -> Town:
    rng = np.random.default_rng([seed, 1])
    homes = rng.uniform(0, 100, (CUSTOMERS, 2))
    shops = rng.uniform(0, 100, (TERMINALS, 2))
    near = [np.argsort(np.hypot(*(shops - home).T)) for home in homes]
    distances = [np.hypot(*(shops[order] - home).T) for order, home in zip(near, homes, strict=True)]
    return Town(
        mean_amount=rng.uniform(5, 100, CUSTOMERS),
        payments_a_day=rng.uniform(0, 4, CUSTOMERS),
        terminals=tuple(order[: max(3, int((far <= REACH).sum()))] for order, far in zip(near, distances, strict=True)),
    )


def _marked(date: date, seed: int, kind: int, days: int, rate: float, population: int) -> Ints:
    """Members that fell to fraud within the last `days` days, this one included."""
    marked: list[Ints] = []
    for age in range(days):
        rng = np.random.default_rng([seed, kind, date.toordinal() - age])
        marked.append(rng.choice(population, rng.poisson(rate), replace=False))
    return np.unique(np.concatenate(marked))


@lru_cache(maxsize=32)
def _payments(date: date, seed: int, drift_from: date | None) -> Payments:
    town = _town(seed)
    shifted = drift_from is not None and date >= drift_from
    rng = np.random.default_rng([seed, 2, date.toordinal()])
    customer = np.repeat(np.arange(CUSTOMERS), rng.poisson(town.payments_a_day))
    second = rng.normal(_DAY / 2, 20_000, len(customer))
    second = np.where((second < 0) | (second >= _DAY), rng.uniform(0, _DAY, len(customer)), second)
    pick = rng.uniform(size=len(customer))
    terminal = np.array(
        [town.terminals[c][int(p * len(town.terminals[c]))] for c, p in zip(customer, pick, strict=True)]
    )
    mean = town.mean_amount[customer]
    amount = rng.normal(mean, mean / 2)
    amount = np.where(amount < 0, rng.uniform(0, 2 * mean), amount)

    fraud = amount > OVER_LIMIT
    stolen = _marked(date, seed, 3, DAYS_STOLEN, CARDS_STOLEN_A_DAY, CUSTOMERS)
    spent = np.isin(customer, stolen) & (rng.uniform(size=len(customer)) < 1 / 3)
    amount = np.where(spent, amount * 5, amount)
    compromised = _marked(date, seed, 4, DAYS_COMPROMISED, TERMINALS_COMPROMISED_A_DAY, TERMINALS)
    fraud = fraud | spent | np.isin(terminal, compromised)

    bursts = [_found_cards(date, seed)]
    if shifted:
        amount = amount * INFLATION
        bursts.append(_card_testing(date, seed))
    for burst in bursts:
        second, customer = np.concatenate([second, burst[0]]), np.concatenate([customer, burst[1]])
        terminal, amount = np.concatenate([terminal, burst[2]]), np.concatenate([amount, burst[3]])
        fraud = np.concatenate([fraud, np.ones(len(burst[0]), dtype=np.bool_)])
    cents = np.maximum(np.rint(amount * 100), 1).astype(np.int64)
    delay = np.random.default_rng([seed, 5, date.toordinal()]).integers(1, 7, len(cents))
    order = np.lexsort((customer, second.astype(np.int64)))
    return Payments(
        second=second.astype(np.int64)[order],
        customer=customer[order],
        terminal=terminal[order],
        cents=cents[order],
        fraud=fraud[order],
        reported_after=np.where(fraud, delay, 0)[order],
    )


def _found_cards(date: date, seed: int) -> tuple[Floats, Ints, Ints, Floats]:
    """Payments at night that need no PIN, one with each card found: second, customer, terminal and amount of each."""
    rng = np.random.default_rng([seed, 8, date.toordinal()])
    customer = rng.choice(CUSTOMERS, CARDS_FOUND_A_NIGHT, replace=False)
    count = len(customer)
    return rng.uniform(0, 6 * 3_600, count), customer, rng.integers(0, TERMINALS, count), rng.uniform(*BELOW_PIN, count)


def _card_testing(date: date, seed: int) -> tuple[Floats, Ints, Ints, Floats]:
    """Bursts of small payments at night: second, customer, terminal and amount of each."""
    rng = np.random.default_rng([seed, 6, date.toordinal()])
    customer = np.repeat(
        rng.choice(CUSTOMERS, CARDS_TESTED_A_NIGHT, replace=False), rng.integers(2, 6, CARDS_TESTED_A_NIGHT)
    )
    start = rng.uniform(3_600, 5 * 3_600, CUSTOMERS)[customer]
    second = start + rng.uniform(0, 1_800, len(customer))
    return second, customer, rng.integers(0, TERMINALS, len(customer)), rng.uniform(0.5, 4.0, len(customer))


def _reports(today: date, seed: int, drift_from: date | None) -> pa.Table:
    ids: list[str] = []
    for days in range(1, 7):
        paid = today - timedelta(days=days)
        payments = _payments(paid, seed, drift_from)
        ids += [_ids(paid, i + 1, i)[0] for i in np.flatnonzero(payments.reported_after == days).tolist()]
    seconds = np.random.default_rng([seed, 7, today.toordinal()]).integers(8 * 3_600, 20 * 3_600, len(ids))
    table = pa.table(
        {
            "report_id": pa.array([f"R{transaction}" for transaction in ids], pa.string()),
            "reported_at": times(today, seconds),
            "transaction_id": pa.array(ids, pa.string()),
            "is_fraud": pa.array([True] * len(ids), pa.bool_()),
        }
    )
    return table.sort_by([("reported_at", "ascending"), ("report_id", "ascending")])


def _ids(date: date, end: int, start: int = 0) -> list[str]:
    return [f"{date:%Y%m%d}{number:06d}" for number in range(start, end)]
