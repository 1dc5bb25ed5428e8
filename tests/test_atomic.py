import pytest

from fossa_ros.core.errors import InputError
from fossa_ros.io.atomic import check_files, replacing


def test_of_a_link_the_file_that_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "kept").mkdir()
    file, link = tmp_path / "kept" / "figures.json", tmp_path / "latest.json"
    file.write_text("old")
    link.symlink_to(file)
    with replacing(link) as partial:
        partial.write_text("new")
    assert link.is_symlink() and file.read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["figures.json", "kept", "latest.json"]


def test_a_link_that_leads_nowhere_yet_stays_a_link(tmp_path):
    link = tmp_path / "latest.json"
    link.symlink_to(tmp_path / "results" / "figures.json")
    with replacing(link) as partial:
        partial.write_text("new")
    assert link.is_symlink() and (tmp_path / "results" / "figures.json").read_text() == "new"


def test_before_the_work_a_link_is_checked_where_it_leads(tmp_path):
    (tmp_path / "file").write_text("")
    link = tmp_path / "latest.json"
    link.symlink_to(tmp_path / "file" / "figures.json")
    with pytest.raises(InputError, match="file is a file; give another one"):
        check_files([link])
