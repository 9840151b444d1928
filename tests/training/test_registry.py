"""The door to MLflow, on a real SQLite registry."""

import subprocess
import sys
import textwrap

import pytest

from perennial.errors import RegistryError
from perennial.settings import settings
from training.lock import training_lock
from training.registry import CHAMPION, Registry


@pytest.fixture
def registry(home):
    return Registry(settings().mlflow_uri)


def registered(registry, content=b"{}"):
    with registry.run("churn", "a title", {"as_of": "2024-01-01"}) as run:
        run.log_params({"horizon_days": 28})
        run.log_metrics({"auc": 0.8, "slope": float("nan")})
        run.log_dataset("d", "abc", "records", '{"num_rows": 3}', "training")
        run.log_files("model", {"f.json": content})
        return registry.register("churn", run, "model", {"gate": "passed"}, "what it is")


def test_versions_count_up_and_come_back_as_they_were(registry, home, tmp_path):
    first, second = registered(registry, b"1"), registered(registry, b"2")
    assert (first.number, second.number) == (1, 2)
    assert registry.version("churn") == second
    assert registry.version("churn", 1) == first
    assert first.tags == {"gate": "passed"}
    assert (registry.fetch(second, tmp_path / "copy") / "f.json").read_bytes() == b"2"
    run = registry._client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"auc": 0.8}
    assert run.inputs.dataset_inputs[0].dataset.digest == "abc"
    assert run.info.artifact_uri.startswith((home / "mlruns").resolve().as_uri())


def test_aliases_move_and_go(registry):
    registered(registry)
    registered(registry)
    assert registry.alias("churn", CHAMPION) is None
    assert registry.alias("unheard_of", CHAMPION) is None
    registry.set_alias("churn", CHAMPION, 1)
    registry.set_alias("churn", CHAMPION, 2)
    assert registry.alias("churn", CHAMPION).number == 2
    registry.set_alias("churn", CHAMPION, None)
    registry.set_alias("churn", CHAMPION, None)
    assert registry.alias("churn", CHAMPION) is None


def test_an_error_leaves_a_failed_run_with_its_reason(registry):
    with pytest.raises(ZeroDivisionError), registry.run("churn", "t", {}) as run:
        _ = 1 / 0
    found = registry._client.get_run(run.run_id)
    assert found.info.status == "FAILED"
    assert found.data.tags["failure"] == "ZeroDivisionError: division by zero"


def test_runs_of_a_dead_process_are_buried_and_others_left_alone(registry):
    open_runs = [registry.run("churn", "t", {"perennial.home": home}) for home in ("here", "there")]
    abandoned = [run.__enter__().run_id for run in open_runs]
    registry.bury_dead_runs("churn", {"perennial.home": "here"})
    assert [registry._client.get_run(run).info.status for run in abandoned] == ["KILLED", "RUNNING"]


def test_what_is_not_there_is_said_plainly(registry):
    with pytest.raises(RegistryError, match=r"no version of 'churn' is registered.*perennial train churn"):
        registry.version("churn")
    registered(registry)
    with pytest.raises(RegistryError, match="'churn' has no version 7; registered versions are 1"):
        registry.version("churn", 7)


def test_a_registry_that_cannot_be_opened_is_our_error(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database")
    with pytest.raises(RegistryError, match=r"did not do what was asked \(.*run the command again"):
        Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_the_second_of_two_trainings_says_busy_and_a_dead_holder_does_not_count(tmp_path):
    code = f"""
        import os, sys
        from pathlib import Path
        from training.lock import training_lock
        with training_lock(Path({str(tmp_path)!r}), "training of churn"):
            print("held", flush=True)
            sys.stdin.read()
            os.kill(os.getpid(), 9)
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(RegistryError, match=rf"busy: training of churn by process {holder.pid} since"),
            training_lock(tmp_path, "training of clv"),
        ):
            pass
        holder.stdin.close()
        holder.wait()
    with training_lock(tmp_path, "training of clv"):
        pass
