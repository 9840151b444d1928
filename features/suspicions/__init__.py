"""What looks wrong in records that could be read: each suspicion in one sentence, with numbers and advice."""

from features.mapping import Source
from features.records import Records
from features.suspicions import clock, foresight, goods, log, people
from features.suspicions.finding import Suspicion, placed_orders

__all__ = ["Suspicion", "suspicions"]


def suspicions(source: Source, records: Records) -> tuple[Suspicion, ...]:
    """Look at usable records with the eyes of somebody who has seen exports go wrong; gravest first."""
    with placed_orders(records) as ask:
        if not ask("SELECT 1 FROM placed LIMIT 1"):
            return ()
        found = [
            *foresight.find(source, records, ask),
            *people.find(records, ask),
            *log.find(ask),
            *clock.find(records, ask),
            *goods.find(records, ask),
        ]
    return tuple(found)
