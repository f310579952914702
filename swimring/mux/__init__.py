"""Many calls and byte streams over one connection, without the connection: pure, for any event loop."""

from .answers import Answer, error_of, outcome_of, why_cancelled
from .calls import CALL_LIFE, CallState, CallStep
from .events import (
    CallArrived,
    CallEnded,
    CancelArrived,
    CreditArrived,
    DataArrived,
    EndArrived,
    Event,
    FailureArrived,
    GoAwayArrived,
    PeerReady,
    PongArrived,
    RefusalArrived,
    ReplyArrived,
    ResetArrived,
    StreamsOffered,
)
from .failures import GROUP, Declare, decode_failure, encode_failure
from .frames import MAGIC
from .header import CallHeader, CallKind, header_allowance
from .hello import ANY_CLUSTER, CLIENT, Hello, HelloRefused, RefusalCode, cluster_digest
from .items import ITEMS, RESERVED_STREAM, ItemReader, pack_item
from .limits import Limits
from .line import stream_ids
from .messages import MessageParts, decode_fields, encode_fields, join_message, split_message
from .phases import GoAwayCode, Phase
from .proof import NONCE_SIZE, Secret
from .session import Session
from .stream import LIFE, ResetCode, Step, StreamState

__all__ = [
    "ANY_CLUSTER",
    "CALL_LIFE",
    "CLIENT",
    "GROUP",
    "ITEMS",
    "LIFE",
    "MAGIC",
    "NONCE_SIZE",
    "RESERVED_STREAM",
    "Answer",
    "CallArrived",
    "CallEnded",
    "CallHeader",
    "CallKind",
    "CallState",
    "CallStep",
    "CancelArrived",
    "CreditArrived",
    "DataArrived",
    "Declare",
    "EndArrived",
    "Event",
    "FailureArrived",
    "GoAwayArrived",
    "GoAwayCode",
    "Hello",
    "HelloRefused",
    "ItemReader",
    "Limits",
    "MessageParts",
    "PeerReady",
    "Phase",
    "PongArrived",
    "RefusalArrived",
    "RefusalCode",
    "ReplyArrived",
    "ResetArrived",
    "ResetCode",
    "Secret",
    "Session",
    "Step",
    "StreamState",
    "StreamsOffered",
    "cluster_digest",
    "decode_failure",
    "decode_fields",
    "encode_failure",
    "encode_fields",
    "error_of",
    "header_allowance",
    "join_message",
    "outcome_of",
    "pack_item",
    "split_message",
    "stream_ids",
    "why_cancelled",
]
