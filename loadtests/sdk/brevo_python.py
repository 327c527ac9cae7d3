"""E-mail and SMS by Brevo's SDK for Python."""

import sys
import uuid

from brevo import (
    Brevo,
    SendTransacEmailRequestMessageVersionsItem,
    SendTransacEmailRequestMessageVersionsItemToItem,
    SendTransacEmailRequestSender,
    SendTransacEmailRequestToItem,
)
from brevo.core.api_error import ApiError

import audit

base_url = sys.argv[1]
client = Brevo(api_key="xkeysib-sandbox", base_url=f"{base_url}/v3")
sender = SendTransacEmailRequestSender(email="no-reply@example.com", name="Acme")

account = client.account.get_account()
assert account.email.endswith("@sandbox.example"), account

key = str(uuid.uuid4())


def send_single():
    return client.transactional_emails.send_transac_email(
        sender=sender,
        to=[SendTransacEmailRequestToItem(email="ann@example.com", name="Ann")],
        subject="Your renewal",
        html_content="<p>Hello {{params.first}}</p>",
        params={"first": "Ann"},
        tags=["renewal"],
        headers={"X-Mailin-custom": "msg_py_1", "Idempotency-Key": key},
    )


single = send_single()
record = audit.message(base_url, "msg_py_1")
assert record["address"] == "ann@example.com" and record["count"] == 1, record
assert record["provider_id"] == single.message_id, (record, single)
assert record["tags"] == ["renewal"], record

try:
    send_single()
    raise AssertionError("the idempotency key was taken twice")
except ApiError as error:
    assert error.status_code == 400 and "duplicate_parameter" in str(error.body), error

batch = client.transactional_emails.send_transac_email(
    sender=sender,
    subject="Your renewal",
    html_content="<p>Hello {{params.first}}</p>",
    message_versions=[
        SendTransacEmailRequestMessageVersionsItem(
            to=[SendTransacEmailRequestMessageVersionsItemToItem(email=f"{name}@example.com")],
            params={"first": name},
        )
        for name in ("bob", "cho", "dee")
    ],
)
assert batch.message_ids is not None and len(set(batch.message_ids)) == 3, batch

events = client.transactional_emails.get_email_event_report(message_id=batch.message_ids[1])
assert {event.email for event in events.events} == {"cho@example.com"}, events
assert {event.event for event in events.events} == {"requests", "delivered"}, events

sms = client.transactional_sms.send_transac_sms(
    sender="Acme", recipient="+23057000001", content="a" * 161, tag="msg_py_2"
)
assert sms.sms_count == 2, sms
record = audit.message(base_url, "msg_py_2")
assert record["address"] == "23057000001" and record["provider_id"] == str(sms.message_id), (record, sms)
later = client.transactional_sms.send_async_transactional_sms(sender="Acme", recipient="23057000002", content="Hi")
assert later.message_id != sms.message_id, later

try:
    client.transactional_emails.send_transac_email(sender=sender, subject="x", html_content="<p>x</p>", to=[])
    raise AssertionError("a mail to nobody was taken")
except ApiError as error:
    assert error.status_code == 400 and "missing_parameter" in str(error.body), error

counts = audit.lane(base_url, "email")
expected = {"messages": 4, "duplicates": 0, "deduplicated": 1, "refused": {"missing_parameter": 1}}
assert {name: counts[name] for name in expected} == expected, counts
assert audit.lane(base_url, "sms")["messages"] == 2
print("brevo-python: account, single, key reuse, batch, event log, SMS, refusal")
