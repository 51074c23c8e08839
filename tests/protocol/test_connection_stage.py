"""The stages of a connection: every pair of a stage and an event, and the one writer."""

from __future__ import annotations

import pytest

from tests.protocol.pair import Pair, live_pair
from zkrecipes.codec.messages import GetDataRequest, SyncRequest
from zkrecipes.protocol.connection_stage import STAGE_TRANSITIONS, Stage, StageEvent, next_stage

GREETING, AUTHENTICATING, LIVE, CLOSING, DEAD = Stage
# The expected stage after each event, as a second copy of the table; None is an error.
EXPECTED: dict[Stage, tuple[Stage | None, ...]] = {
    # accepted, set up, retired, ended
    GREETING: (AUTHENTICATING, None, None, DEAD),
    AUTHENTICATING: (None, LIVE, None, DEAD),
    LIVE: (None, None, CLOSING, DEAD),
    CLOSING: (None, None, CLOSING, DEAD),
    DEAD: (None, None, None, None),
}


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(("position", "event"), list(enumerate(StageEvent)))
def test_each_event_in_each_stage(stage: Stage, position: int, event: StageEvent) -> None:
    expected = EXPECTED[stage][position]
    if expected is not None:
        assert next_stage(stage, event) is expected
    else:
        with pytest.raises(RuntimeError, match=f"that is {stage.value} cannot be {event.value}"):
            next_stage(stage, event)


def test_every_stage_is_in_the_table_and_the_last_one_is_final() -> None:
    assert set(STAGE_TRANSITIONS) == set(Stage)
    assert STAGE_TRANSITIONS[DEAD] == {}


def test_a_connection_passes_through_all_stages() -> None:
    pair = Pair(sasl_token=b"token")
    stages = [pair.stage()]
    pair.greet()
    pair.accept()
    stages.append(pair.stage())
    pair.flush()
    pair.client.respond(None)
    stages.append(pair.stage())
    ticket = pair.ask(GetDataRequest("/a"))
    assert [each.request for each in pair.flush()] == [ticket.request]
    pair.client.retire("there is a better one")
    stages.append(pair.stage())
    pair.reply(ticket.xid, err=-101)
    stages.append(pair.stage())
    assert stages == list(Stage)


def test_a_closing_connection_still_sends_urgent_requests() -> None:
    pair = live_pair()
    first = pair.ask(GetDataRequest("/a"))
    pair.flush()
    pair.client.retire("there is a better one")
    pair.client.retire("there is another one")
    pair.ask(GetDataRequest("/later"))
    urgent = pair.ask(SyncRequest("/"), urgent=True)
    assert [each.request for each in pair.flush()] == [urgent.request]
    pair.reply(first.xid, err=-101)
    assert pair.stage() is CLOSING
    pair.reply(urgent.xid, err=-101)
    assert pair.stage() is DEAD


def test_a_connection_that_is_not_live_cannot_be_retired() -> None:
    pair = Pair()
    with pytest.raises(RuntimeError, match="a connection that is greeting cannot be retired"):
        pair.client.retire("there is a better one")
    pair.client.lose("cut")
    pair.client.retire("there is a better one")
    assert pair.stage() is DEAD
