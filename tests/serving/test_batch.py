import csv
import hashlib
import io
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from perennial.errors import OutputError
from serving.batch import read_scores, write_scores
from serving.codes import CODE_LISTS
from serving.columns import COLUMN_NAMES, SCHEMA
from serving.lists import READY_LISTS
from serving.spreadsheet import neutralise
from tests.serving import handmade
from tests.serving.handmade import CANARY, FORMULAS, run, with_cells


def visible(folder: Path) -> dict[str, bytes]:
    """Every file that a person sees below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in ("*", "*/*")
        for path in folder.glob(pattern)
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    }


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    made = run(50)
    written = write_scores(made, tmp_path)
    read = read_scores(tmp_path)
    pd.testing.assert_frame_equal(read.scores, made.scores)
    assert read.manifest == written
    assert (written.customers, written.horizon_days, written.versions) == (50, 28, "churn=3;clv=2;segments=1")
    assert pa.parquet.read_schema(tmp_path / "scores.parquet").equals(SCHEMA)


def test_the_manifest_vouches_for_every_file_beside_it(tmp_path: Path) -> None:
    write_scores(run(), tmp_path)
    shown = visible(tmp_path)
    body = json.loads(shown.pop("manifest.json"))
    assert set(body["files"]) == set(shown)
    for name, facts in body["files"].items():
        assert facts["sha256"] == hashlib.sha256(shown[name]).hexdigest()
        assert facts["bytes"] == len(shown[name])
        if name.endswith(".csv"):
            assert facts["rows"] == len(rows(tmp_path / name)) - 1, name
    assert body["as_of"] == "2017-10-01T04:00:00Z"
    assert body["pending"] == ["need_type"]
    assert "28 days" in body["definition"]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b", "b"):
        write_scores(run(), tmp_path / name)
    assert visible(tmp_path / "a") == visible(tmp_path / "b")


def test_csv_opens_in_excel(tmp_path: Path) -> None:
    made = with_cells(run(), {"customer_id": ["007", 'say "hi", you'], "reason_1": ["已沉默 40 天", "two\nlines"]})
    write_scores(made, tmp_path)
    data = (tmp_path / "scores.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\n") == data.count(b"\r\n") == len(made.scores) + 1
    header, first, second, *_ = rows(tmp_path / "scores.csv")
    assert header == list(COLUMN_NAMES)
    one, two = dict(zip(header, first, strict=True)), dict(zip(header, second, strict=True))
    assert (one["customer_id"], two["customer_id"]) == ("007", 'say "hi", you')
    assert (one["reason_1"], two["reason_1"]) == ("已沉默 40 天", "two lines")
    assert one["as_of"] == "2017-10-01T04:00:00Z"
    assert two["next_order_expected_on"] == "2017-10-03"
    assert one["need_type"] == ""
    assert float(one["clv"]) == pytest.approx(made.scores["clv"][0], abs=0.005)
    assert b'"007"' in data


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_a_spreadsheet_would_run_is_neutralised_everywhere(tmp_path: Path, text: str) -> None:
    made = with_cells(run(), {"customer_id": [text], "reason_1": [text], "value_tier": ["champions"]})
    made.scores.loc[0, ["clv", "control_group"]] = [1e9, True]
    write_scores(made, tmp_path)
    for path in tmp_path.glob("**/*.csv"):
        cells = [cell for row in rows(path) for cell in row]
        assert text not in cells, path
    for name in ("scores.csv", "segments/champions.csv", "segments/control_group.csv"):
        assert rows(tmp_path / name)[1][0].startswith("'"), name
    assert pd.read_parquet(tmp_path / "scores.parquet")["customer_id"][0] == text


def test_numbers_are_never_neutralised(tmp_path: Path) -> None:
    made = with_cells(run(), {"clv": [-12.345]})
    write_scores(made, tmp_path)
    header, first, *_ = rows(tmp_path / "scores.csv")
    assert first[header.index("clv")] in ("-12.35", "-12.34")
    assert neutralise(pa.array(["plain", None, "a=b"])).to_pylist() == ["plain", None, "a=b"]


def test_lists_hold_whom_they_promise(tmp_path: Path) -> None:
    made = run(400)
    write_scores(made, tmp_path)
    lists = {ready.name: pd.read_csv(tmp_path / f"segments/{ready.name}.csv", dtype=str) for ready in READY_LISTS}
    scores = made.scores
    assert all(len(frame) > 0 for frame in lists.values())
    warned = lists["early_warning"]
    assert warned["money_at_risk"].astype(float).is_monotonic_decreasing
    assert set(warned["churn_band"]) == {"medium", "high", "critical"}
    assert not {"at_risk", "churned"} & set(warned["lifecycle_stage"])
    assert set(lists["champions"]["customer_id"]) == set(scores.loc[scores["value_tier"] == "champions", "customer_id"])
    assert set(lists["control_group"]["customer_id"]) == set(scores.loc[scores["control_group"], "customer_id"])
    assert set(lists["do_not_disturb"]["customer_id"]) == set(
        scores.loc[scores["consented_channels"].isna(), "customer_id"]
    )
    assert (lists["win_back"]["expected_incremental_value"].astype(float) > 0).all()
    held = set(lists["do_not_disturb"]["customer_id"]) | set(lists["control_group"]["customer_id"])
    for name in ("early_warning", "champions", "dormant_high_value", "win_back"):
        may = lists[name].set_index("customer_id")["may_be_contacted"]
        assert set(may.index[may == "false"]) == held & set(may.index), name


def test_the_early_warning_ends_where_the_staff_does(tmp_path: Path) -> None:
    made = run(400)
    write_scores(made, tmp_path / "all")
    write_scores(replace(made, manifest=replace(made.manifest, capacity=5)), tmp_path / "few")
    everyone, few = (pd.read_csv(tmp_path / name / "segments/early_warning.csv", dtype=str) for name in ("all", "few"))
    reachable = everyone[everyone["may_be_contacted"] == "true"].reset_index(drop=True)
    assert len(few) == 5 < len(reachable) < len(everyone)
    pd.testing.assert_frame_equal(few, reachable.head(5))
    assert read_scores(tmp_path / "few").manifest.capacity == 5


@pytest.mark.parametrize(("column", "value"), [("churn_probability", float("nan")), ("clv_high", float("inf"))])
def test_scores_with_holes_are_refused_and_the_last_ones_stay(tmp_path: Path, column: str, value: float) -> None:
    write_scores(run(), tmp_path)
    before = visible(tmp_path)
    with pytest.raises(OutputError, match=column):
        write_scores(with_cells(run(9), {column: [value]}), tmp_path)
    assert visible(tmp_path) == before


def test_an_empty_list_keeps_its_header(tmp_path: Path) -> None:
    made = run(8)
    made.scores["control_group"] = False
    write_scores(made, tmp_path)
    assert rows(tmp_path / "segments/control_group.csv") == [["customer_id", "control_group"]]


def test_dictionary_and_code_lists_explain_every_column_and_code(tmp_path: Path) -> None:
    made = run()
    write_scores(made, tmp_path)
    words = pd.read_csv(tmp_path / "data_dictionary.csv", keep_default_na=False)
    told = words.groupby("file", sort=False)["column"].agg(tuple)
    assert told["scores.csv"] == COLUMN_NAMES
    assert list(told["totals.csv"]) == rows(tmp_path / "totals.csv")[0]
    codes = pd.read_csv(tmp_path / "code_lists.csv", keep_default_na=False).groupby("list")["code"].agg(set)
    for name in CODE_LISTS:
        assert set(made.scores[name].dropna()) <= codes[name], name
    assert set(made.scores["action_id"]) <= codes["action_id"]


def test_totals_are_the_sums_of_the_scores_with_ranges(tmp_path: Path) -> None:
    made = run(400, language="zh")
    write_scores(made, tmp_path)
    totals = pd.read_csv(tmp_path / "totals.csv")
    everybody = totals[totals["grouping"] == "portfolio"].iloc[0]
    assert (everybody["customers"], everybody["label"], everybody["currency"]) == (400, "全部客户", "USD")
    for name in ("expected_orders", "expected_spend", "clv"):
        for grouping in ("value_tier", "lifecycle_stage", "segment"):
            found = totals[totals["grouping"] == grouping].set_index("code")[name]
            pd.testing.assert_series_equal(
                found.sort_index(), made.scores.groupby(grouping)[name].sum(), check_names=False, atol=0.006
            )
        assert everybody[name] == pytest.approx(made.scores[name].sum(), abs=0.006)
        assert (totals[f"{name}_low"] < totals[name]).all()
        assert (totals[name] < totals[f"{name}_high"]).all()
    champions = totals[(totals["grouping"] == "value_tier") & (totals["code"] == "champions")].iloc[0]
    # singles' luck matters less in a larger sum; what all have in common (10 % here) matters as much
    assert champions["clv_high"] / champions["clv"] > everybody["clv_high"] / everybody["clv"] > 1.2
    body = json.loads((tmp_path / "manifest.json").read_bytes())
    assert body["totals"][0]["expected_spend_high"] == pytest.approx(everybody["expected_spend_high"])
    assert [total["code"] for total in body["totals"]] == totals["code"].tolist()


def test_an_altered_or_missing_file_is_refused(tmp_path: Path) -> None:
    write_scores(run(), tmp_path)
    path = tmp_path / "segments" / "champions.csv"
    path.write_bytes(path.read_bytes().replace(b"champions", b"champion5", 1))
    with pytest.raises(OutputError, match=r"champions\.csv.*differs.*perennial score"):
        read_scores(tmp_path)
    write_scores(run(), tmp_path)
    assert read_scores(tmp_path).manifest.customers == 40
    (tmp_path / "scores.csv").resolve().unlink()
    with pytest.raises(OutputError, match=r"scores\.csv.*missing"):
        read_scores(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b'{"kind": "other", "format_version": 1}'])
def test_a_folder_without_a_proper_manifest_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"manifest\.json.*perennial score"):
        read_scores(tmp_path)


def test_a_plain_copy_reads_the_same_and_can_be_written_over(tmp_path: Path) -> None:
    write_scores(run(), tmp_path / "made")
    (tmp_path / "copy").mkdir()
    for name, data in visible(tmp_path / "made").items():
        (tmp_path / "copy" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(data)
    assert read_scores(tmp_path / "copy").manifest == read_scores(tmp_path / "made").manifest
    write_scores(run(9), tmp_path / "copy")
    write_scores(run(9), tmp_path / "made")
    assert visible(tmp_path / "copy") == visible(tmp_path / "made")


def test_files_of_others_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_scores(run(), tmp_path)
    write_scores(run(9), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list(tmp_path.glob(".set-*"))) == 1


def test_a_full_disk_leaves_the_last_good_set(tmp_path: Path) -> None:
    write_scores(run(), tmp_path)
    before = visible(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # writing beyond fails as on a full disk
    try:
        with pytest.raises(OutputError, match=r"cannot be written.*unchanged"):
            write_scores(run(4000), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert visible(tmp_path) == before
    assert not list(tmp_path.glob(".partial-*"))


def in_child(directory: Path, work: Callable[[], object], die_at: int) -> int:
    """Do ``work`` in a forked process that dies, without a chance to clean up, at its n-th touch of the folder."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    touches = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal touches
        if event == "open" or event.startswith(("os.", "shutil.")):
            touches += str(directory) in " ".join(map(str, arguments))
            if touches == die_at:
                os._exit(9)

    sys.addaudithook(count)
    work()
    os._exit(0)


def test_a_kill_anywhere_leaves_one_whole_set(tmp_path: Path) -> None:
    old, new = run(6), run(5, data_grade="B")
    write_scores(old, tmp_path / "old")
    write_scores(new, tmp_path / "new")
    whole = [visible(tmp_path / name) for name in ("old", "new")]
    target, seen = tmp_path / "target", set()
    for die_at in range(1, 500):
        shutil.rmtree(target, ignore_errors=True)
        write_scores(old, target)
        if in_child(target, lambda: write_scores(new, target), die_at) == 0:
            break
        shown = visible(target)
        assert shown in whole, f"torn at touch {die_at}"
        assert read_scores(target).manifest.customers in (5, 6)
        seen.add(shown == whole[1])
    assert seen == {False, True}
    assert die_at > 30
    write_scores(new, target)
    assert sorted(path.name for path in target.glob(".*")) == [
        ".current",
        ".lock",
        (target / ".current").readlink().name,
    ]


def test_a_kill_of_the_first_write_leaves_nothing_or_all(tmp_path: Path) -> None:
    write_scores(run(6), tmp_path / "whole")
    for die_at in range(1, 500, 3):
        target = tmp_path / str(die_at)
        done = in_child(target, lambda target=target: write_scores(run(6), target), die_at) == 0  # type: ignore[misc]
        try:
            assert read_scores(target).manifest.customers == 6
        except OutputError:
            assert not done
            assert not (target / "manifest.json").exists()
        if done:
            break
    assert visible(target) == visible(tmp_path / "whole")


def test_nothing_typed_by_people_reaches_the_manifest(tmp_path: Path) -> None:
    made = with_cells(run(), {"customer_id": [CANARY]})
    write_scores(made, tmp_path)
    assert CANARY.encode() not in (tmp_path / "manifest.json").read_bytes()
    assert handmade.manifest(1).files == {}
