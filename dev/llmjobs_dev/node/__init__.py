"""A small node: runs the pods that the scheduler binds to it as processes of this machine.

What a kubelet with containers does and this does not: images, volumes, cgroups, network isolation.
A pod's processes share one loopback address of their own, which is its IP; they must bind to it
(``$(POD_IP)`` by a field reference), as all pods share the machine's network.
"""

from llmjobs_dev.node.agent import NodeAgent

__all__ = ["NodeAgent"]
