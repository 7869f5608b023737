import pytest

from tests.conftest import ComposeConfig
from tests.training.fields import quick


@pytest.fixture(scope="session")
def compose_config(compose_config: ComposeConfig) -> ComposeConfig:
    """The same, sooner."""
    return quick(compose_config)


@pytest.fixture(scope="session")
def tiny(tiny: ComposeConfig) -> ComposeConfig:
    """The same, sooner."""
    return quick(tiny)
