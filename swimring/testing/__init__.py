"""Whole clusters in one process: a simulated network, virtual time, faults as values, and a seed that repeats all."""

from .breaking import SimNodes
from .cluster import SimCluster, open_sim_cluster
from .fabric import HostStatistics
from .faults import PASS, Fault, Hosts, Latency, Packet, PacketKind, Verdict
from .history import Happening, History
from .host import SimulatedHost
from .machine import NodeSetup, SimNode
from .network import LAN, HostNetwork, SimulatedNetwork, open_simulated_network
from .simulation import current_seed, dice, run_simulation
from .streams import SimulatedStream
from .trace import Trace

__all__ = [
    "LAN",
    "PASS",
    "Fault",
    "Happening",
    "History",
    "HostNetwork",
    "HostStatistics",
    "Hosts",
    "Latency",
    "NodeSetup",
    "Packet",
    "PacketKind",
    "SimCluster",
    "SimNode",
    "SimNodes",
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
