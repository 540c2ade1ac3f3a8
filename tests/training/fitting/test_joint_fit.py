"""What ranks besides rank 0 make of a fit that it announces, and the plans of a run."""

from pathlib import Path

from training.fitting import record_plan


def test_plans_of_all_stages_are_kept_each_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "sharding_plan.txt"
    record_plan(path, "main", None)
    assert not path.exists()
    record_plan(path, "main", "2 ranks\n\nitem_id | row_wise\n")
    record_plan(path, "refit", "2 ranks\n\nitem_id | table_wise")
    record_plan(path, "main", "3 ranks\n\nitem_id | row_wise")
    assert path.read_text("utf-8") == (
        "[main]\n3 ranks\n\nitem_id | row_wise\n\n[refit]\n2 ranks\n\nitem_id | table_wise\n"
    )
