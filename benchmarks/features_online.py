"""How long one customer's snapshot of the features that models read takes."""

import gc
import time
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from benchmarks.features_alone import Alone, ByCustomer
from features.catalogue import MODEL_FEATURES
from features.plan import log_plan
from features.records import Records
from features.snapshot import as_frame, build_snapshot


def online(records: Records, count: int, seed: int, report: Callable[..., None]) -> None:
    """Time one customer's snapshot of the features that models read: sent along, read from an engine, planned there."""
    as_of, sent, standing = records.as_of(), ByCustomer(records), Alone(records)
    chosen = np.random.default_rng(seed + 3).choice(standing.customers(), size=count)
    ways: dict[str, tuple[Callable[[str], Records], Callable[[Records], pd.DataFrame]]] = {
        "sent along": (sent.of, partial(build_snapshot, as_of=as_of, features=MODEL_FEATURES)),
        "in the engine": (
            lambda customer: standing.of([customer]),
            partial(build_snapshot, as_of=as_of, features=MODEL_FEATURES),
        ),
        "planned anew": (
            lambda customer: standing.of([customer]),
            lambda one: as_frame(log_plan(MODEL_FEATURES).run(one, as_of)),
        ),
    }
    took: dict[str, list[tuple[float, float]]] = {}
    for _ in ("compile once a process", "measure"):
        gc.collect()
        gc.freeze()  # as the service does: what stays is not walked again
        took = {name: [] for name in ways}
        for customer in chosen:
            for name, (find, build) in ways.items():
                one = find(customer)
                took[name].append(_spent(partial(build, one)))
    gc.unfreeze()
    for name, percent, (place, clock) in product(ways, (50, 99), ((0, "ms"), (1, "ms of CPU"))):
        what = (
            f"one customer's snapshot, {len(MODEL_FEATURES)} features of models, records {name}, percentile {percent}"
        )
        report(what, float(np.percentile([times[place] for times in took[name]], percent)), clock, count)


def _spent(work: Callable[[], object]) -> tuple[float, float]:
    """Return the milliseconds that something took, on the wall and of the processor."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - started), 1e3 * (time.process_time() - busy)
