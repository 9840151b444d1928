"""What the API answers, apart from HTTP: the same functions serve the REST routes and BentoML's methods."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from perennial.errors import PerennialError, StoreError
from perennial.settings import Settings
from serving import metrics
from serving.decisions import ledger
from serving.decisions.playbook import load_playbook
from serving.manifest import definition
from serving.own_records import score_own
from serving.problems import MISSING_IDEMPOTENCY_KEY, NOT_READY, STORE_AWAY, UNKNOWN_CUSTOMER, Problem
from serving.requests import OwnRecords
from serving.rows import MODELS, Champions, champions_from
from serving.schemas import DECISION_COLUMNS, LISTS, PAST_DECISION_FIELDS, SCORE_FIELDS
from serving.shelf import Champion, Shelf
from serving.store import Run, Store

_LONGEST_KEY = 128
_OTHER_PLAYBOOK = "The playbook was changed after these scores were made; run `perennial score` again."
_NO_RUN = "No scores are loaded; run `perennial score` for this home."
_NO_MODEL = "No verified model is published; run `perennial train all` for this home."
_LONG_AGO = "2001-01-01T00:00:00Z"
_NOBODY = OwnRecords.model_validate(
    {
        "customer_id": "nobody",
        "orders": [{"ordered_at": _LONG_AGO, "amount": 1.0}],
        "interactions": [{"occurred_at": _LONG_AGO, "kind": "visit"}],
    }
)


class Answers:
    """Everything the service knows: the store's current run and the models on the shelf."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._store: Store | None = None
        self._seen_run: Run | None = None
        self._built: tuple[Mapping[str, Champion], Champions] | None = None
        self.shelf = Shelf(settings.shelf)

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Lend the store, opening it when it was away before; its failures become a 503."""
        try:
            with self._opening:
                self._store = self._store or Store(self._settings.store_url)
            yield self._store
        except StoreError as error:
            detail = "The store cannot be read now; nothing was changed. Try again."
            raise Problem(STORE_AWAY, detail, headers={"retry-after": "5"}) from error

    def close(self) -> None:
        """Give the store's connections back."""
        if self._store is not None:
            self._store.close()

    def run(self) -> Run:
        """Return the run being served; a Problem when there is none."""
        with self.store() as store:
            run = store.current_run()
        if run is None:
            raise Problem(NOT_READY, _NO_RUN, headers={"retry-after": "60"})
        metrics.AS_OF.set(run.as_of.timestamp())
        return run

    def ready(self) -> dict[str, Any]:
        """Say which run is served, or a Problem with the reason why none can be."""
        run = self.run()
        if not self.shelf.current:
            raise Problem(NOT_READY, self.shelf.fault or _NO_MODEL, headers={"retry-after": "60"})
        return {"status": "ready", "run_id": run.run_id}

    def models(self) -> dict[str, Any]:
        """List the models in service and the run they last scored."""
        with self.store() as store:
            run = store.current_run()
        return {
            "models": [champion.facts(name) for name, champion in sorted(self.shelf.current.items())],
            "fault": self.shelf.fault,
            "scores": None if run is None else _run_facts(run),
        }

    def scores(self, customer_ids: Sequence[str]) -> dict[str, Any]:
        """Look up the scores of many customers, all from one run."""
        run, rows = self._rows(customer_ids)
        return {"run_id": run.run_id, "results": _items("scores", "score", customer_ids, rows, score_of, run)}

    def scores_of_own(self, customers: Sequence[OwnRecords], as_of: datetime | None) -> dict[str, Any]:
        """Score customers from the records they came with, by the models in service; nothing is kept."""
        run = self.run()
        rows = self._scored(customers, as_of, run)
        ids = [customer.customer_id for customer in customers]
        items = _items("scores", "score", ids, rows, score_of, run, missing="no_orders")
        return {"run_id": None, "results": items}

    def warm(self) -> None:
        """Score a customer nobody is, so that the first caller need not wait for what is built once."""
        with suppress(Problem, PerennialError):  # what cannot score now says so to whoever asks
            self._scored([_NOBODY], None, self.run())

    def _scored(
        self, customers: Sequence[OwnRecords], as_of: datetime | None, run: Run
    ) -> Mapping[str, dict[str, Any]]:
        serving = self.shelf.current
        if not set(MODELS) <= serving.keys():
            raise Problem(NOT_READY, self.shelf.fault or _NO_MODEL, headers={"retry-after": "60"})
        if self._built is None or self._built[0] is not serving:
            models = champions_from({name: serving[name].artefact for name in MODELS})
            self._built = (serving, models)
        return score_own(customers, as_of, self._built[1], run.manifest, self._settings)

    def proposals(self, customer_ids: Sequence[str]) -> dict[str, Any]:
        """Say the next best actions of many customers: what was committed for this ``as_of``, else what is proposed."""
        run, rows = self._rows(customer_ids)
        return self._decisions(run, self._with_committed(run, rows), customer_ids, committed=False)

    def commit(self, customer_ids: Sequence[str], caller: str, key: str | None) -> dict[str, Any]:
        """Decide for many customers and write it to the ledger, once for each caller and Idempotency-Key."""
        scoped = _scoped(caller, key)
        run, rows = self._rows(customer_ids)
        provenance = self._provenance(run)
        with self.store() as store:
            decided = ledger.commit(
                store,
                {row["customer_id"]: _proposal(row) for row in rows.values()},
                provenance,
                idempotency_key=scoped,
                decided_at=datetime.now(UTC),
            )
        return self._decisions(run, _with(decided, rows), customer_ids, committed=True)

    def decision(self, customer_id: str) -> dict[str, Any]:
        """Say the next best action of one customer, as `proposals` does."""
        run, row = self._row(customer_id)
        row = self._with_committed(run, {customer_id: row})[customer_id]
        return {"run_id": run.run_id, **_named(customer_id, row), "decision": decision_of(row, run)}

    def profile(self, customer_id: str) -> dict[str, Any]:
        """Gather everything known about one customer."""
        run, row = self._row(customer_id)
        with self.store() as store:
            facts = store.profile(row["customer_id"])
            decisions = store.decisions_of(row["customer_id"])
        return {
            "run_id": run.run_id,
            **_named(customer_id, row),
            "score": score_of(row, run),
            "facts": None if facts is None else {k: v for k, v in facts.items() if k != "customer_id"},
            "decisions": [_rendered(entry, PAST_DECISION_FIELDS) for entry in decisions],
        }

    def scopes_of(self, key: str) -> frozenset[str] | None:
        """Look an API key up."""
        with self.store() as store:
            return store.scopes_of(key)

    def _with_committed(self, run: Run, rows: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        with self.store() as store:
            decided = store.decided({row["customer_id"] for row in rows.values()}, "", run.as_of)
        return _with(decided, rows)

    def _provenance(self, run: Run) -> ledger.Provenance:
        playbook = load_playbook(self._settings.playbook)
        if playbook.sha256 != run.manifest["playbook_sha256"]:
            raise Problem(NOT_READY, _OTHER_PLAYBOOK, headers={"retry-after": "60"})
        return ledger.Provenance(run.as_of, run.manifest["model_versions"], playbook.sha256, playbook.draw_id)

    def _decisions(
        self, run: Run, rows: Mapping[str, dict[str, Any]], customer_ids: Sequence[str], *, committed: bool
    ) -> dict[str, Any]:
        items = _items("next_best_actions", "decision", customer_ids, rows, decision_of, run)
        return {"run_id": run.run_id, "committed": committed, "results": items}

    def _row(self, customer_id: str) -> tuple[Run, dict[str, Any]]:
        run, rows = self._rows([customer_id])
        if customer_id not in rows:
            raise unknown_customer()
        return run, rows[customer_id]

    def _rows(self, customer_ids: Sequence[str]) -> tuple[Run, dict[str, dict[str, Any]]]:
        """Read rows by the ids asked for, and the one run they are of; a former id has the row of who it is now.

        A run that was current before the rows were read and still is has been current all the while: runs do not
        come back. The one seen by the last request serves as "before", which saves a query.
        """
        while True:
            before = self._seen_run
            with self.store() as store:
                rows = store.scores_for(dict.fromkeys(customer_ids))
                if others := [customer_id for customer_id in customer_ids if customer_id not in rows]:
                    masters = store.masters(others)
                    found = store.scores_for(set(masters.values()))
                    rows |= {former: found[master] for former, master in masters.items() if master in found}
            run = self._seen_run = self.run()
            if before is not None and before.run_id == run.run_id:
                return run, rows


def _items(
    route: str,
    member: str,
    customer_ids: Sequence[str],
    rows: Mapping[str, dict[str, Any]],
    render: Callable[[Mapping[str, Any], Run], dict[str, Any]],
    run: Run,
    missing: str = "not_found",
) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for customer_id in customer_ids:
        row = rows.get(customer_id)
        if row is None:
            items.append({"customer_id": customer_id, "status": missing, member: None})
        else:
            items.append({**_named(customer_id, row), "status": "ok", member: render(row, run)})
    found = sum(item["status"] == "ok" for item in items)
    metrics.CUSTOMERS.labels(route, "ok").inc(found)
    metrics.CUSTOMERS.labels(route, missing).inc(len(items) - found)
    return items


def _named(asked_id: str, row: Mapping[str, Any]) -> dict[str, str]:
    """Return whose row it is, and under which id it was asked for where that is another."""
    customer_id = row["customer_id"]
    return {"customer_id": customer_id} | ({} if asked_id == customer_id else {"asked_id": asked_id})


def _with(decided: Mapping[str, Mapping[str, Any]], rows: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {asked_id: {**row, **decided.get(row["customer_id"], {})} for asked_id, row in rows.items()}


def _scoped(caller: str, key: str | None) -> str:
    if not key or len(key) > _LONGEST_KEY:
        detail = f"commit: true needs an Idempotency-Key header of 1 to {_LONGEST_KEY} characters."
        raise Problem(MISSING_IDEMPOTENCY_KEY, detail)
    return hashlib.sha256(f"{caller}\n{key}".encode()).hexdigest()


def _proposal(row: Mapping[str, Any]) -> dict[str, Any]:
    # The ledger needs a number; an action without one earns nothing that is known.
    return {**row, "expected_incremental_value": row["expected_incremental_value"] or 0.0}


def unknown_customer() -> Problem:
    """Build the one answer to an unknown and an erased id."""
    return Problem(UNKNOWN_CUSTOMER, "No customer in the current scores has this id; ids are text as in the records.")


def decision_of(row: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Render a stored row as the API's Decision; it has an id when it was committed."""
    return {
        "decision_id": row.get("decision_id"),
        **_rendered(row, DECISION_COLUMNS),
        "eligible_actions": row.get("eligible_actions") or [],
        "definition": definition(run.manifest),
    }


def score_of(row: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Render a stored row as the API's Score."""
    return {**_rendered(row, SCORE_FIELDS), "definition": definition(run.manifest)}


def _rendered(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: _apart(name, row.get(name)) for name in names}


def _apart(name: str, value: Any) -> Any:
    if name in LISTS:
        return value.split(";") if value else []
    if name == "model_versions" and not isinstance(value, dict):
        return dict(pair.split("=", 1) for pair in value.split(";")) if value else {}
    return value


def _run_facts(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "as_of": run.as_of,
        "loaded_at": run.created_at,
        "customers": run.row_count,
        "horizon_days": run.manifest["horizon_days"],
        "definition": definition(run.manifest),
        "model_versions": run.manifest["model_versions"],
        "pending": run.manifest["pending"],
    }
