"""One operator for a module's tests, each of which has a namespace of its own."""

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from llmjobs_core.names import PoolKey
from llmjobs_dev.control_plane import ControlPlane
from llmjobs_dev.valkey import Valkey
from llmjobs_testing.driver import Driver
from llmjobs_testing.kubectl import Kubectl
from llmjobs_testing.operators import OperatorProcess, install, run_operator

_numbers = itertools.count()


@pytest.fixture(scope="session")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with the CRDs and the operator's rights."""
    install(control_plane)
    return control_plane


@pytest.fixture
def kubectl(plane: ControlPlane) -> Kubectl:
    """kubectl in a new namespace."""
    kubectl = Kubectl(plane, f"op-{next(_numbers)}")
    kubectl.create_namespace()
    return kubectl


@pytest.fixture(scope="module")
def operator(
    plane: ControlPlane, valkey_process: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """An operator that leads, over an empty store."""
    with redis.Redis.from_url(valkey_process.url) as client:
        client.flushall()
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with run_operator(plane, valkey_process.url, log) as operator:
        yield operator


@pytest.fixture
async def driver(
    operator: OperatorProcess, kubectl: Kubectl, valkey_process: Valkey
) -> AsyncIterator[Driver]:
    """Plays the workers of pool ``p`` in the test's namespace."""
    driver = Driver(valkey_process.url, PoolKey(kubectl.namespace, "p"))
    yield driver
    await driver.close()
