"""A trained model into the registry."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from models.bundle import write_bundle
from service.settings import Settings
from service.wiring import registry_of, signing_key_of

if TYPE_CHECKING:
    from models.training import Trained


def register(trained: "Trained", settings: Settings) -> str:
    """Sign the model, put it into the registry and return its `name@version`; the first one becomes champion."""
    with tempfile.TemporaryDirectory(prefix="weir-bundle-") as folder:
        place = Path(folder) / "bundle"
        write_bundle(place, trained.manifest, trained.files, signing_key_of(settings))
        return registry_of(settings).register(place)
