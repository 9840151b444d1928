"""What makes records less tidy, when asked for: people with two ids, rows that became known late."""

import numpy as np
import pyarrow as pa

from benchmarks.company.people import People
from benchmarks.company.settings import FIRST_DAY, Ints
from benchmarks.company.tables import customer_ids, instants

LATE_DAYS, LINKED_AFTER_DAYS = 5.0, 60.0


def know_late(rng: np.random.Generator, table: pa.Table, instant: str, share: float, together: Ints) -> pa.Table:
    """Add ``known_at``: a share of the rows became known days later, rows with an equal ``together`` (m,) at once."""
    groups = int(together.max(initial=-1)) + 1
    late = rng.uniform(size=groups) < share
    delay = np.where(late, rng.exponential(LATE_DAYS, size=groups), 0.0)[together]
    known = table[instant].to_numpy() + (delay * 86_400).astype("timedelta64[s]")
    return table.append_column("known_at", pa.array(known))


def second_ids(
    rng: np.random.Generator, people: People, orders: pa.Table, share: float, days: int
) -> tuple[pa.Table, pa.Table]:
    """Let a share of customers order under a second id from some day on; return orders and identities.

    The business learns of the link within two months of the first use; a link learned after the log is not in it.
    """
    n = len(people)
    switch = np.where(rng.uniform(size=n) < share, rng.uniform(people.born, days), np.inf)
    learned = switch + rng.uniform(0.0, LINKED_AFTER_DAYS, size=n)
    column = orders["customer_id"].combine_chunks()
    owner = column.indices.to_numpy()
    day = (orders["ordered_at"].to_numpy() - FIRST_DAY.to_datetime64()) / np.timedelta64(1, "D")
    renamed = owner + n * (day >= switch[owner])
    aliases = customer_ids(people.first, n, prefix="D")
    ids = pa.DictionaryArray.from_arrays(
        pa.array(renamed.astype(np.int32)), pa.concat_arrays([column.dictionary, aliases])
    )
    linked = pa.array(np.flatnonzero(learned < days))
    identities = {
        "customer_id": aliases.take(linked),
        "master_id": column.dictionary.take(linked),
        "known_at": instants(learned).take(linked),
    }
    return orders.set_column(0, "customer_id", ids), pa.table(identities)
