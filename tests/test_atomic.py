from fossa_ros.io.atomic import replacing


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
