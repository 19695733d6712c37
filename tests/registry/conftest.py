"""Fixtures of the registry's suite."""

import pytest

from .command import RegistryCommand


@pytest.fixture
def hanok(tmp_path) -> RegistryCommand:
    return RegistryCommand(tmp_path)
