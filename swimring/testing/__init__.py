"""Whole clusters in one process: a simulated network, virtual time, faults as values, and a seed that repeats all."""

from .backends import Asker, Beside, Cluster, ClusterNode, Nodes
from .breaking import FaultBlock
from .cluster import SimCluster, open_sim_cluster
from .fabric import HostStatistics
from .faults import PASS, Fault, Hosts, Latency, Packet, PacketKind, Verdict
from .history import Happening, History
from .host import SimulatedHost
from .invariants import Invariant, InvariantBroken, each_node_trusts_itself, incarnations_come_from_their_owner
from .load import Action, Check, Load, Outcome, Record
from .machine import NodeSetup, SimNode
from .network import LAN, HostNetwork, SimulatedNetwork, open_simulated_network
from .process import RealNode
from .real import RealCluster, open_real_cluster
from .simulation import current_seed, dice, run_simulation
from .streams import SimulatedStream
from .trace import Trace

__all__ = [
    "LAN",
    "PASS",
    "Action",
    "Asker",
    "Beside",
    "Check",
    "Cluster",
    "ClusterNode",
    "Fault",
    "FaultBlock",
    "Happening",
    "History",
    "HostNetwork",
    "HostStatistics",
    "Hosts",
    "Invariant",
    "InvariantBroken",
    "Latency",
    "Load",
    "NodeSetup",
    "Nodes",
    "Outcome",
    "Packet",
    "PacketKind",
    "RealCluster",
    "RealNode",
    "Record",
    "SimCluster",
    "SimNode",
    "SimulatedHost",
    "SimulatedNetwork",
    "SimulatedStream",
    "Trace",
    "Verdict",
    "current_seed",
    "dice",
    "each_node_trusts_itself",
    "incarnations_come_from_their_owner",
    "open_real_cluster",
    "open_sim_cluster",
    "open_simulated_network",
    "run_simulation",
]
