"""What a check leaves behind: a page to read, the same for machines, and the rows set aside to be corrected."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from features.records import TableReport
from features.usability import first_rows, meaning, remedy
from models.sufficiency import Sufficiency
from perennial.check import Check, needs, reading, summary, verdict
from perennial.errors import OutputError
from perennial.files import replacing
from serving.spreadsheet import neutralise, neutralise_words, write_csv

FORMAT_VERSION = 1
REPORT, PAGE, QUARANTINE = "report.json", "report.html", "quarantine"
ROWS_PER_FILE = 1_000_000  # a sheet of Excel holds 1,048,576
OURS = ("file", "row", "reason", "meaning")


def write(found: Check, folder: Path) -> list[Path]:
    """Write the quarantine, the page and the JSON, which comes last; return them in the order to be looked at."""
    try:
        rows = _write_quarantine(found, folder)
        page = folder / PAGE
        with replacing(page) as partial:
            partial.write_text(_page(found, [path.relative_to(folder) for path in rows]), encoding="utf-8")
        report = folder / REPORT
        content = as_json(found) | {"quarantine_files": {str(path.relative_to(folder)): _sha256(path) for path in rows}}
        with replacing(report) as partial:
            partial.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: the check could not be written ({error.strerror or error})") from None
    return [page, *rows, report]


def as_json(found: Check) -> dict[str, Any]:
    """Return the check for machines; names are those of the Python objects, days are ISO."""
    facts, ready = found.facts, found.readiness
    return {
        "format_version": FORMAT_VERSION,
        "name": facts.name,
        "verdict": verdict(found),
        "usable": ready is not None,
        "rows": facts.rows,
        "customers": facts.customers,
        "orders": facts.orders,
        "returns": facts.returns,
        "net_amount": round(facts.net_amount, 2),
        "first_day": facts.first_day and facts.first_day.isoformat(),
        "last_day": facts.last_day and facts.last_day.isoformat(),
        "timezone": facts.timezone,
        "currency": facts.currency,
        "margin_rate": facts.margin_rate,
        "margin_known_share": facts.margin_known_share,
        "clv_basis": facts.clv_basis,
        "consent_default": facts.consent_default,
        "grades": ready
        and {
            "horizon_days": ready.horizon_days,
            "churn": _grade_json(ready.churn),
            "clv": _grade_json(ready.value),
        },
        "tables": [_table_json(report, first_rows(found.records, report.table)) for report in facts.reports],
        "suspicions": [
            {
                "code": each.code,
                "table": each.table,
                "text": each.text,
                "advice": each.advice,
                "rows": each.rows,
                "examples": list(each.examples),
            }
            for each in facts.suspicions
        ],
    }


def _grade_json(sufficiency: Sufficiency) -> dict[str, Any]:
    missing = [{"fact": short.fact, "have": short.have, "need": short.need} for short in sufficiency.missing]
    return {"grade": sufficiency.grade, "next_grade": sufficiency.next_grade, "missing": missing}


def _table_json(report: TableReport, examples: Mapping[str, str]) -> dict[str, Any]:
    return {
        "table": report.table,
        "rows": report.rows,
        "accepted": report.accepted,
        "corrected": report.corrected,
        "quarantined": report.quarantined,
        "reasons": {
            code: {"rows": count, "meaning": meaning(code), "remedy": remedy(code), "example": examples.get(code)}
            for code, count in report.reasons.items()
        },
        "corrections": {code: {"rows": count, "meaning": meaning(code)} for code, count in report.corrections.items()},
        "conversions": dict(report.conversions),
        "notes": list(report.notes),
        "inputs": [
            {
                "file": read.file,
                "rows": read.rows,
                "encoding": read.encoding,
                "delimiter": read.delimiter,
                "missing": dict(read.missing),
                "unused": list(read.unused),
                "identical": read.identical,
            }
            for read in report.inputs
        ],
    }


def _page(found: Check, rows: list[Path]) -> str:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("perennial"), PackageLoader("serving")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment.get_template("check.html.j2").render(
        facts=found.facts,
        source=found.source,
        verdict=verdict(found),
        summary=summary(found.facts) if found.readiness else [],
        needs=needs(found.readiness) if found.readiness else [],
        reading=reading(found.facts),
        examples={report.table: first_rows(found.records, report.table) for report in found.facts.reports},
        meaning=meaning,
        remedy=remedy,
        quarantine=rows,
    )


def _write_quarantine(found: Check, folder: Path) -> list[Path]:
    """Write one CSV per input with rows set aside; a file that somebody has edited since is left alone."""
    known = _written_before(folder)
    for name, digest in known.items():
        path = folder / name
        if path.is_file() and _sha256(path) == digest:
            path.unlink()
    written = []
    for stem, frame in _pieces(found.records.quarantine):
        path = _free(folder / QUARANTINE, stem)
        with replacing(path) as partial:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            headings = neutralise(pa.array(table.column_names)).to_pylist()
            write_csv(table.rename_columns(headings), partial, safe=neutralise_words)
        written.append(path)
    return written


def _written_before(folder: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        names = content["quarantine_files"]
        return {name: digest for name, digest in names.items() if Path(name).parent == Path(QUARANTINE)}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _pieces(quarantine: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield a file name and the rows of each input, original columns split; long ones in parts."""
    if quarantine.empty:
        return
    for (table, file), rows in quarantine.groupby(["table", "file"], sort=False):
        name = re.sub(r"[^\w.-]+", "_", f"{table}-{str(file).split('.')[0]}")
        split = _split(rows)
        for start in range(0, len(split), ROWS_PER_FILE):
            part = f"-part{start // ROWS_PER_FILE + 1}" if len(split) > ROWS_PER_FILE else ""
            yield name + part, split[start : start + ROWS_PER_FILE]


def _split(rows: pd.DataFrame) -> pd.DataFrame:
    originals = [json.loads(text) for text in rows["original"]]
    columns = dict.fromkeys(name for original in originals for name in original)
    own = {name: f"perennial_{name}" if name in columns else name for name in OURS}
    frame = pd.DataFrame(
        {
            own["file"]: rows["file"].astype("str"),
            own["row"]: rows["row"].astype("int64"),
            own["reason"]: rows["reason"].astype("str"),
            own["meaning"]: rows["reason"].map(meaning).astype("str"),
        }
    )
    values = pd.DataFrame(originals, columns=list(columns), index=frame.index, dtype="str")
    return pd.concat([frame, values], axis=1)


def _free(folder: Path, stem: str) -> Path:
    path, number = folder / f"{stem}.csv", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.csv", number + 1
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
