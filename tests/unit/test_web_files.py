"""What the dashboard's files must be, without a browser."""

import re
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
SCRIPTS = sorted(WEB.glob("*.js"))
VENDORED = [ROOT / "web" / "vendor", ROOT / "tests" / "browser" / "vendor"]


@pytest.mark.parametrize("folder", VENDORED, ids=lambda folder: folder.parent.name)
def test_vendored_files_are_the_ones_that_were_looked_at(folder):
    listed = dict(re.findall(r"^\| `([\w.]+)` \|.*`([0-9a-f]{64})` \|$", (folder / "README.md").read_text("utf-8"), re.MULTILINE))
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.suffix in {".js", ".css"}}

    assert found == listed
    assert len(found) > 0
    assert list(folder.glob("*.LICENSE"))


def test_the_page_has_no_inline_script_or_style():
    page = (WEB / "index.html").read_text("utf-8")

    assert re.findall(r"<script(?![^>]* src=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", page) == []


@pytest.mark.parametrize("path", [*SCRIPTS, *WEB.glob("*.css"), WEB / "index.html"], ids=lambda path: path.name)
def test_no_file_names_another_machine_or_reads_text_as_html(path):
    content = path.read_text("utf-8")

    assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", content)) <= {"http://www.w3.org/2000/svg"}
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", content) == []


def test_every_file_that_a_page_asks_for_is_there():
    page = (WEB / "index.html").read_text("utf-8")
    wanted = {WEB / name for name in re.findall(r"(?:src|href)=\"([\w./-]+\.\w+)\"", page)}
    for script in SCRIPTS:
        wanted |= {WEB / name for name in re.findall(r"(?:from|import\()\s*\"\./([\w./-]+)\"", script.read_text("utf-8"))}

    assert [path.name for path in wanted if not path.is_file()] == []
    assert {path.name for path in SCRIPTS} <= {path.name for path in wanted}


def test_no_script_is_longer_than_a_screenful_of_screens():
    assert {path.name: n for path in SCRIPTS if (n := len(path.read_text("utf-8").splitlines())) > 300} == {}
