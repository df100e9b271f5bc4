"""Every way by which wire bytes reach a kernel."""

from __future__ import annotations

from codec.warm import warm
from tests.fuzz import longport, opend, opend_replies
from tests.fuzz.flow_list import FlowLists
from tests.fuzz.target import Target
from tests.fuzz.websocket import Frames, Packets

TARGETS: tuple[type[Target], ...] = (
    opend.TickFrames,
    opend.CheckedFrames,
    opend.TickTimes,
    opend_replies.FlowReplies,
    opend_replies.OneRowReplies,
    opend_replies.JsonBodies,
    longport.Packets,
    longport.Messages,
    longport.FlowReplies,
    longport.Distributions,
    longport.Decimals,
    FlowLists,
    Frames,
    Packets,
)


def prepare() -> None:
    """Compile what is not yet: the first call of a kernel would look like one that hangs."""
    warm()
