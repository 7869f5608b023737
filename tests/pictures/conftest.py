from types import SimpleNamespace

import pytest

from alexnet_exp.pictures.looking import Subject


@pytest.fixture(scope="package")
def subject(trained_run: SimpleNamespace) -> Subject:
    """A small network of two towers with drawn images."""
    return Subject(trained_run.folder, progress=False)
