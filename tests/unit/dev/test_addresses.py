"""Pods of several stacks on one machine do not meet."""

from llmjobs_dev.node.addresses import PodAddresses


def test_two_nodes_have_different_blocks() -> None:
    first, second = PodAddresses(), PodAddresses()
    try:
        assert first.pick(()).split(".")[:2] != second.pick(()).split(".")[:2]
    finally:
        first.release()
        second.release()


def test_an_address_in_use_is_passed_over() -> None:
    addresses = PodAddresses()
    try:
        first = addresses.pick(())
        block = first.rpartition(".")[0]
        assert addresses.pick({f"{block}.2"}) == f"{block}.3"
    finally:
        addresses.release()
