"""What a worker imports."""

import subprocess
import sys

PROGRAM = """
import sys
import models.bundle, service.serving, stream.worker
print(*sorted({"sklearn", "scipy.stats", "joblib", "onnx"} & sys.modules.keys()))
from sklearn.linear_model import LogisticRegression
"""


def test_a_worker_does_not_import_what_only_training_needs_and_training_still_can():
    found = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []
