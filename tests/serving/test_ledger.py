from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from perennial.errors import StoreError
from serving.decisions.arbitration import propose
from serving.decisions.ledger import Provenance, commit
from serving.decisions.playbook import load_playbook
from serving.store import Store
from tests.serving.customers import AS_OF, customers

PLAYBOOK = load_playbook()
MADE_FROM = Provenance(AS_OF.instant, {"churn": "3"}, PLAYBOOK.sha256, PLAYBOOK.draw_id)
NOW = datetime(2024, 6, 1, 9, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}")
    store.subject_keys(["C0", "C1", "C2"], create=True)
    yield store
    store.close()


def proposals(*changes: dict[str, object]) -> dict[str, dict[str, Any]]:
    return propose(customers(*changes), PLAYBOOK, AS_OF, "en").to_dict("index")


THREE = ({}, {"complaints_open": 1.0}, {"offers_received_30d": 9.0})


def test_a_decision_is_kept_with_all_it_takes_to_judge_it(store: Store) -> None:
    entries = commit(store, proposals(*THREE), MADE_FROM, idempotency_key="k1", decided_at=NOW)
    assert set(entries) == {"C0", "C1", "C2"}
    entry = entries["C1"]
    assert entry["action_id"] == "complaint_call"
    assert entry["subject_key"] == store.subject_keys(["C1"])["C1"]
    assert (entry["decided_at"], entry["as_of"]) == (NOW, AS_OF.instant)
    assert entry["due_by"] == AS_OF.instant + timedelta(hours=2)
    assert entry["eligible_actions"][-1] == "do_nothing"
    assert entry["model_versions"] == {"churn": "3"}
    assert (entry["playbook_sha256"], entry["draw_id"]) == (PLAYBOOK.sha256, PLAYBOOK.draw_id)
    assert entry["propensity"] == 1.0
    assert entry["evidence"] == "assumed"
    assert entry["human_task"] is True
    assert entries["C2"]["suppressed_by"] == "cap_reached"
    assert entries["C2"]["action_channel"] is None
    assert store.decisions_of("C1") == [entry]
    assert "customer_id" not in entry


def test_the_same_call_twice_writes_once(store: Store) -> None:
    first = commit(store, proposals(*THREE), MADE_FROM, idempotency_key="k1", decided_at=NOW)
    later = NOW + timedelta(minutes=5)
    assert commit(store, proposals(*THREE), MADE_FROM, idempotency_key="k1", decided_at=later) == first
    assert len(store.decisions_of("C0")) == 1


def test_a_customer_is_decided_on_once_for_each_instant(store: Store) -> None:
    """Else two callers would both send, and the caps would have counted one."""
    first = commit(store, proposals(*THREE), MADE_FROM, idempotency_key="k1", decided_at=NOW)
    assert commit(store, proposals(*THREE), MADE_FROM, idempotency_key="k2", decided_at=NOW) == first
    assert len(store.decisions_of("C0")) == 1


def test_a_retry_after_a_new_run_gets_the_first_decision(store: Store) -> None:
    first = commit(store, proposals(*THREE), MADE_FROM, idempotency_key="k1", decided_at=NOW)
    tomorrow = Provenance(AS_OF.instant + timedelta(days=1), {"churn": "4"}, PLAYBOOK.sha256, PLAYBOOK.draw_id)
    assert commit(store, proposals(*THREE), tomorrow, idempotency_key="k1", decided_at=NOW) == first
    second = commit(store, proposals(*THREE), tomorrow, idempotency_key="k3", decided_at=NOW + timedelta(days=1))
    assert {i: e["decision_id"] for i, e in second.items()} != {i: e["decision_id"] for i, e in first.items()}
    assert [e["model_versions"]["churn"] for e in store.decisions_of("C0")] == ["4", "3"]


def test_two_customers_under_one_key_are_two_decisions(store: Store) -> None:
    entries = commit(store, proposals(*THREE), MADE_FROM, idempotency_key="k1", decided_at=NOW)
    assert len({entry["decision_id"] for entry in entries.values()}) == 3


def test_a_customer_who_is_not_in_the_store_stops_the_whole_commit(store: Store) -> None:
    with pytest.raises(StoreError, match="1 of 4 customers are not in the store"):
        commit(store, proposals(*THREE, {}), MADE_FROM, idempotency_key="k1", decided_at=NOW)
    assert store.decisions_of("C0") == []


def test_what_a_payload_holds_as_text_is_read_as_an_instant(store: Store) -> None:
    told = proposals({}, {"complaints_open": 1.0})
    told["C1"]["due_by"] = "2024-06-01T06:00:00Z"
    told["C0"]["due_by"] = None
    entries = commit(store, told, MADE_FROM, idempotency_key="k1", decided_at=NOW)
    assert entries["C1"]["due_by"] == datetime(2024, 6, 1, 6, tzinfo=UTC)
    assert entries["C0"]["due_by"] is None


def test_a_propensity_that_is_none_is_refused(store: Store) -> None:
    wrong = proposals({})
    wrong["C0"]["propensity"] = 0.0
    with pytest.raises(StoreError, match="could not be given these decisions"):
        commit(store, wrong, MADE_FROM, idempotency_key="k1", decided_at=NOW)
    assert store.decisions_of("C0") == []


def test_committed_marketing_holds_the_next_proposal_back(store: Store) -> None:
    open_book = PLAYBOOK
    first = propose(customers({}, {}, {}), open_book, AS_OF, "en")
    commit(store, first.to_dict("index"), MADE_FROM, idempotency_key="k1", decided_at=NOW)
    history = store.decided_since(NOW - timedelta(days=90), as_of=AS_OF.instant + timedelta(days=2))
    assert sorted(history["customer_id"]) == ["C0", "C1", "C2"]
    tomorrow = type(AS_OF)(AS_OF.instant + timedelta(days=2), AS_OF.day + timedelta(days=2))
    again = propose(customers({}, {}, {}), open_book, tomorrow, "en", history)
    marketed = first["action_id"] != "do_nothing"
    assert marketed.any()
    assert (again["suppressed_by"][marketed] == "cooldown").all()


def test_no_history_is_an_empty_frame(store: Store) -> None:
    history = store.decided_since(NOW, as_of=AS_OF.instant)
    assert history.empty
    assert isinstance(history["decided_at"].dtype, pd.DatetimeTZDtype)
    propose(customers({}), PLAYBOOK, AS_OF, "en", history)


def test_nothing_in_the_store_changes_or_deletes_a_decision() -> None:
    """The ledger is append-only: its one writer adds."""
    source = Path(__file__).parents[2].joinpath("serving", "store.py").read_text(encoding="utf-8")
    assert "update(ledger" not in source
    assert "delete(ledger" not in source
