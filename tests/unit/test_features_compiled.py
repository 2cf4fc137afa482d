"""The cache of compiled code never outlives the code that was compiled into it."""

import subprocess
import sys
from pathlib import Path

FEATURES = Path(__file__).parents[2] / "features"


def test_the_modules_of_the_digest_are_those_that_compile_something():
    from features.compiled import _MODULES

    compiling = {path.stem for path in FEATURES.glob("*.py") if "@compiled" in path.read_text()}

    assert compiling <= set(_MODULES)


def test_a_change_of_one_kernel_module_asks_for_another_cache(tmp_path):
    import shutil

    def folder() -> str:
        code = "import features.compiled as c; print(c._FOLDER)"
        return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    shutil.copytree(FEATURES, tmp_path / "features", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(FEATURES.parent / "domain", tmp_path / "domain", ignore=shutil.ignore_patterns("__pycache__"))
    before = folder()
    layout = tmp_path / "features" / "layout.py"
    layout.write_text(layout.read_text() + "\n# changed\n")

    assert before == str(tmp_path / "features" / "__pycache__" / Path(before).name)
    assert folder() != before
