"""Whole clusters in one process: a simulated network, virtual time, faults as values, and a seed that repeats all."""

from .cluster import NodeSetup, SimCluster, SimNode, open_sim_cluster
from .fabric import HostStatistics
from .faults import PASS, Fault, Hosts, Latency, Packet, PacketKind, Verdict
from .host import SimulatedHost
from .network import LAN, HostNetwork, SimulatedNetwork, open_simulated_network
from .simulation import current_seed, dice, run_simulation
from .streams import SimulatedStream
from .trace import Trace

__all__ = [
    "LAN",
    "PASS",
    "Fault",
    "HostNetwork",
    "HostStatistics",
    "Hosts",
    "Latency",
    "NodeSetup",
    "Packet",
    "PacketKind",
    "SimCluster",
    "SimNode",
    "SimulatedHost",
    "SimulatedNetwork",
    "SimulatedStream",
    "Trace",
    "Verdict",
    "current_seed",
    "dice",
    "open_sim_cluster",
    "open_simulated_network",
    "run_simulation",
]
