"""Who a customer was, as known at a cutoff: the rows of an id that was linked by then are its master's.

Canonical tables keep the ids of their sources; they are replaced when a cutoff looks at the log, so what is learned
later changes no earlier view. Where a source has no links nothing is computed for it.
"""

from dataclasses import replace
from types import MappingProxyType

import ibis
import pandas as pd

from features.contract import IDENTITIES
from features.links import NO_LINKS
from features.records import AsOf, Records


def as_known(records: Records, moment: AsOf) -> Records:
    """Return the records with every id that was linked by then replaced by its person's, in every table."""
    ids, masters = records.links.persons(moment.naive_utc)
    if not len(ids):
        return replace(records, links=NO_LINKS) if records.links else records
    frame = pd.DataFrame({"linked_id": ids, "person_id": masters})
    persons = ibis.memtable(frame, schema={"linked_id": "string", "person_id": "string"})
    tables = {
        name: table if name == IDENTITIES.name else _united(table, persons) for name, table in records.tables.items()
    }
    return replace(records, tables=MappingProxyType(tables), links=NO_LINKS)


def _united(table: ibis.Table, persons: ibis.Table) -> ibis.Table:
    joined = table.left_join(persons, table.customer_id == persons.linked_id)
    return joined.mutate(customer_id=joined.person_id.fill_null(joined.customer_id)).select(*table.columns)
