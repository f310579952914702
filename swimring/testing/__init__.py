"""Whole clusters in one process: a simulated network, virtual time, faults as values, and a seed that repeats all."""

from .backends import Asker, Beside, Cluster, ClusterNode, Nodes
from .breaking import FaultBlock
from .clock import VirtualClock
from .cluster import SimCluster, open_sim_cluster
from .disk import DiskFault, Disks, DiskTrouble, DiskVerdict, SimulatedDisk, SimulatedStore
from .fabric import HostStatistics
from .faults import PASS, Fault, Hosts, Latency, Packet, PacketKind, Verdict
from .guard import NotRepeatable, allow
from .history import Happening, History
from .host import Clock, SimulatedHost
from .invariants import (
    Claim,
    Invariant,
    InvariantBroken,
    OpenClaim,
    acknowledged_survive,
    each_node_trusts_itself,
    incarnations_come_from_their_owner,
    one_owner_per_fence,
    open_claims,
    views_converge,
)
from .leaks import nothing_leaks
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
    "Claim",
    "Clock",
    "Cluster",
    "ClusterNode",
    "DiskFault",
    "DiskTrouble",
    "DiskVerdict",
    "Disks",
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
    "NotRepeatable",
    "OpenClaim",
    "Outcome",
    "Packet",
    "PacketKind",
    "RealCluster",
    "RealNode",
    "Record",
    "SimCluster",
    "SimNode",
    "SimulatedDisk",
    "SimulatedHost",
    "SimulatedNetwork",
    "SimulatedStore",
    "SimulatedStream",
    "Trace",
    "Verdict",
    "VirtualClock",
    "acknowledged_survive",
    "allow",
    "current_seed",
    "dice",
    "each_node_trusts_itself",
    "incarnations_come_from_their_owner",
    "nothing_leaks",
    "one_owner_per_fence",
    "open_claims",
    "open_real_cluster",
    "open_sim_cluster",
    "open_simulated_network",
    "run_simulation",
    "views_converge",
]
