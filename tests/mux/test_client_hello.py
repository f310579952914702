"""The hello of a client: no member, and of any cluster as long as it does not know better."""

from __future__ import annotations

import pytest

from swimring.errors import LocalProtocolError
from swimring.identity import NodeId
from swimring.mux import ANY_CLUSTER, CLIENT, Hello, HelloRefused, Limits, PeerReady, Phase, RefusalCode, Session
from swimring.mux.hello import check_hello, cluster_digest


def client(cluster: str | None = None) -> Session:
    return Session(me=NodeId("client-1", 0), cluster=cluster, limits=Limits(), dialled=True, client=True)


def node(cluster: str = "hello") -> Session:
    return Session(me=NodeId("n1", 1), cluster=cluster, limits=Limits(), dialled=False)


def test_a_client_that_names_no_cluster_is_welcome_in_any() -> None:
    for cluster in ("one", "two"):
        asker, answerer = client(), node(cluster)
        assert [type(event) for event in answerer.receive(asker.bytes_to_send())] == [PeerReady]
        asker.receive(answerer.bytes_to_send())
        assert asker.phase is answerer.phase is Phase.OPEN
        assert answerer.peer is not None
        assert answerer.peer.features == (CLIENT, "offers")


def test_a_client_that_names_its_cluster_is_refused_by_another() -> None:
    with pytest.raises(HelloRefused, match="another cluster") as caught:
        node("one").receive(client("two").bytes_to_send())
    assert caught.value.code is RefusalCode.CLUSTER


def test_only_a_client_may_leave_its_cluster_open() -> None:
    with pytest.raises(LocalProtocolError, match="only a client"):
        Session(me=NodeId("n2", 1), cluster=None, limits=Limits(), dialled=True)


@pytest.mark.parametrize("features", [(), ("gzip",), ("clients",)])
def test_a_node_is_refused_without_a_cluster(features: tuple[str, ...]) -> None:
    mine = Hello(node=NodeId("n1", 1), cluster=cluster_digest("hello"), limits=Limits())
    theirs = Hello(node=NodeId("n2", 1), cluster=ANY_CLUSTER, limits=Limits(), features=features)
    for one, other in ((mine, theirs), (theirs, mine)):
        with pytest.raises(HelloRefused):
            check_hello(one, other)
