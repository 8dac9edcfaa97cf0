import math

import pytest
from pydantic import ValidationError

from tests.fakes import evaluated, some_evidence, stepped
from unlearnlab.metrics.scores import Evidence, Membership
from unlearnlab.runs.events import (
    EVENTS,
    Ending,
    Evaluated,
    Failed,
    Finished,
    Paused,
    Unread,
    read_event,
)


def test_every_event_has_its_own_kind_and_is_read_back_by_it():
    kinds = [event.model_fields["kind"].default for event in EVENTS]
    assert len(set(kinds)) == len(EVENTS) == 30
    assert read_event('{"kind": "paused"}') == Paused()


def test_events_survive_json():
    for event in (evaluated("before"), stepped(3), Failed(seconds=1.5, problem="p", advice="a")):
        assert read_event(event.model_dump_json()) == event


def test_nan_and_infinity_in_evidence_survive_json():
    membership = Membership(member=(math.inf, 1.0), nonmember=(math.nan,))
    evidence = some_evidence().model_copy(update={"membership": membership})
    back = Evidence.model_validate_json(evidence.model_dump_json())
    assert back.membership.member == (math.inf, 1.0)
    assert math.isnan(back.membership.nonmember[0])


SECRET = "the name of a person"


@pytest.mark.parametrize(
    "text",
    ["{}", '{"kind": "exploded"}', "[", f'{{"kind": "stopped", "seconds": "{SECRET}"}}'],
)
def test_what_is_no_event_is_read_as_such_and_what_is_wrong_is_said_without_its_text(text):
    found = read_event(text)
    assert isinstance(found, Unread)
    assert found.problem
    assert SECRET not in found.problem


def test_a_field_of_a_later_version_is_left_out():
    assert read_event('{"kind": "paused", "x": 1}') == Paused()


def test_events_cannot_be_changed():
    with pytest.raises(ValidationError):
        Finished(seconds=1).seconds = 2


def test_the_endings_are_finished_stopped_and_failed():
    endings = [event for event in EVENTS if issubclass(event, Ending)]
    assert [event.__name__ for event in endings] == ["Finished", "Stopped", "Failed"]
    assert not issubclass(Evaluated, Ending)
