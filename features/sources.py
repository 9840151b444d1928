"""The doors to records: a source file, or DataFrames that already carry the contract's names."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from features.contract import TABLES
from features.database import open_database
from features.files import open_file
from features.inputs import Input, open_frame
from features.mapping import ConsentDefault, Source, load_source
from features.reading import read
from features.records import Economics, Records
from features.sections import Field, Section, require
from features.toml_values import checked_currency, checked_zone, suggestion
from features.workspace import Workspace, open_workspace
from perennial.errors import SourceError

__all__ = ["Source", "load_source", "read_records", "records_from_frames"]

# Text of this size fits several times into the smallest memory limit that makes sense.
LARGE_BYTES = 32 << 20


def read_records(source: Source | Path) -> Records:
    """Read and validate everything a source file names.

    Raises
    ------
    SourceError
        When a file is missing, empty, damaged or in another encoding, when a mapped column is not there or
        has changed its type, when a database cannot be reached, when instants have no zone, when currencies are
        mixed without rates.
    """
    loaded = source if isinstance(source, Source) else load_source(source)

    def open_inputs(workspace: Workspace) -> Iterator[tuple[Section, Iterable[Input]]]:
        numbers = count()
        for section in loaded.sections:
            if section.url:
                yield section, [open_database(workspace.connection, f"input_{next(numbers)}", section)]
                continue
            files = loaded.files(section)
            yield (
                section,
                [
                    open_file(workspace.connection, f"input_{next(numbers)}", file, section.encoding, workspace.folder)
                    for file in files
                ],
            )

    return read(loaded, open_workspace(on_disk=_is_large(loaded)), open_inputs)


def _is_large(source: Source) -> bool:
    """Whether the records may be too many for memory: what is small is read faster there."""
    if any(section.url for section in source.sections):
        return True
    sizes = (file.stat().st_size for section in source.sections for file in source.files(section))
    return sum(sizes) > LARGE_BYTES


def records_from_frames(
    frames: Mapping[str, pd.DataFrame],
    *,
    timezone: str = "UTC",
    currency: str = "USD",
    economics: Economics = Economics(),  # noqa: B008 (frozen)
    consent_default: ConsentDefault = "allow",
) -> Records:
    """Validate DataFrames by contract table name, whose columns carry the contract's names, like files.

    Naive instants are on the wall clock of ``timezone``; columns the contract does not have are left out and
    noted; a frame without rows is an empty table.
    """
    for name in frames:
        if name not in TABLES:
            raise SourceError(f"frame {name!r} is no contract table{suggestion(name, TABLES)}")
    source = Source(
        path=Path("frames"),
        name="frames",
        currency=checked_currency(currency, "currency"),
        timezone=checked_zone(timezone, "timezone"),
        economics=economics,
        consent_default=consent_default,
        sections=tuple(_frame_section(name, frame) for name, frame in frames.items()),
    )

    def open_inputs(workspace: Workspace) -> Iterator[tuple[Section, Iterable[Input]]]:
        for number, section in enumerate(source.sections):
            yield section, [open_frame(workspace.connection, f"input_{number}", section.table, frames[section.table])]

    return read(source, open_workspace(on_disk=False), open_inputs)


def _frame_section(name: str, frame: pd.DataFrame) -> Section:
    names = TABLES[name].mappable
    fields = {column: Field(column=column) for column in names if column in frame.columns}
    section = Section(name, f"frame {name!r}", MappingProxyType(fields))
    if len(frame):
        require(TABLES[name], fields, section.where, tuple(map(str, frame.columns)))
    return section
