"""One generated company: every table of the contract, with the truth that made it (``docs/company.md``).

No public records hold consent, complaints, satisfaction, referrals, birthdays and offers with known effects. What only
such records can show is judged here, and whatever shows it says so.
"""

from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa

from benchmarks.company.blocks import block_count, make_block
from benchmarks.company.settings import (
    CATEGORIES,
    DROPOUT_EFFECTS,
    FIRST_DAY,
    OFFER_EFFECT_DAYS,
    OFFER_EFFECTS,
    PURE,
    RATE_EFFECTS,
    CompanySettings,
)
from benchmarks.company.tables import frame

__all__ = [
    "CATEGORIES",
    "DROPOUT_EFFECTS",
    "FIRST_DAY",
    "OFFER_EFFECTS",
    "OFFER_EFFECT_DAYS",
    "PURE",
    "RATE_EFFECTS",
    "Company",
    "CompanySettings",
    "generate",
]


@dataclass(frozen=True)
class Company:
    """Contract tables by name, and the truth: a row per customer, per randomised offer, per complaint."""

    tables: dict[str, pd.DataFrame]
    truth: pd.DataFrame
    offer_truth: pd.DataFrame
    complaint_truth: pd.DataFrame
    days: int
    settings: CompanySettings = field(default_factory=CompanySettings)

    @property
    def last_day(self) -> pd.Timestamp:
        """First day after the log."""
        return FIRST_DAY + pd.Timedelta(days=self.days)


def generate(
    customers: int = 1_000, days: int = 540, seed: int = 7, settings: CompanySettings | None = None
) -> Company:
    """Generate a company of ``customers`` over ``days`` days, in memory.

    The rows are those that ``python -m benchmarks.company`` writes, in the same order: by block of 20,000 customers,
    within it by time. ``settings=PURE`` leaves nothing but BG/NBD and Gamma-Gamma.
    """
    settings = settings or CompanySettings()
    blocks = [make_block(number, customers, days, seed, settings) for number in range(block_count(customers))]
    tables = {name: frame(pa.concat_tables([block.tables[name] for block in blocks])) for name in blocks[0].tables}
    truth = {name: frame(pa.concat_tables([block.truth[name] for block in blocks])) for name in blocks[0].truth}
    return Company(tables, truth["customers"], truth["offers"], truth["complaints"], days, settings)
