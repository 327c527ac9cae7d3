"""The sandbox's audit, as the checks ask for it."""

import json
import urllib.request


def message(base_url: str, message_id: str) -> dict:
    """The one recipient that a message id was received for."""
    with urllib.request.urlopen(f"{base_url}/sandbox/audit/message/{message_id}") as answer:
        records = json.load(answer)
    assert len(records) == 1, f"{message_id}: {records}"
    return records[0]


def lane(base_url: str, channel: str) -> dict:
    """The counts of the known account on a channel."""
    with urllib.request.urlopen(f"{base_url}/sandbox/audit") as answer:
        lanes = json.load(answer)["lanes"]
    return next(lane for lane in lanes if lane["channel"] == channel and lane["account"] != "(unknown)")
