"""Fixtures of unit tests: a registry in a store."""

from pathlib import Path

import pytest

from models.registry import Registry
from models.store import Store
from tests.unit.registry_places import ExclusiveFiles, place_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return place_of("exclusive", tmp_path)


@pytest.fixture
def files(store: Store) -> ExclusiveFiles:
    return store._system


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)
