"""What schemathesis can't know of this API: ids that are there, bodies that mean something, and tokens that are good.

Where a part of a request is generated to be valid, ids in it are those of things that are there; what ends or uses up a thing
gets one of its own. What is generated to be wrong stays as it is.
"""

import itertools
import json
import os
import threading
import time

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation

BASE = os.environ["FANFARE_URL"]
TOKEN = os.environ["FANFARE_TOKEN"]
STATUSES = os.environ["FANFARE_STATUSES"]
PASSWORD = "correct horse battery staple"

count = itertools.count(1)
lock = threading.Lock()
seen = {}
session = requests.Session()


def call(method, path, body=None, token=TOKEN, **more):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = session.request(method, BASE + path, json=body, headers=headers, timeout=30, **more)
    if not answer.ok:
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:400]}")
    return answer.json().get("data", {}) if answer.content else {}


def number():
    return f"{os.getpid()}-{next(count)}"


def upload():
    text = f"email,name,reference\np{number()}@example.com,Ann,POL-1\n"
    made = call("POST", "/api/upload/file", files={"file": ("people.csv", text)})["uploadId"]
    until(f"/api/upload/status/{made}", "completed")
    return made


def until(path, status):
    give_up = time.monotonic() + 60
    while (found := call("GET", path)["status"]) != status:
        if time.monotonic() > give_up:
            raise RuntimeError(f"{path} is {found} after a minute, and not {status}")
        time.sleep(0.05)


def template(draft=False):
    new = {"name": f"T {number()}", "type": "sms", "content": "Hello", "class": "obligation", "draft": draft}
    return call("POST", "/api/templates", new)["templateId"]


def campaign():
    new = {"name": "C", "type": "sms", "templates": {"sms": once("template")}}
    return call("POST", "/api/campaigns", new)["campaigns"][0]["id"]


def in_review():
    made = campaign()
    call("POST", f"/api/campaigns/{made}/submit", {})
    return made


def active():
    made = campaign()
    call("PUT", f"/api/campaigns/{made}/status", {"status": "active"})
    until(f"/api/campaigns/{made}", "completed")
    return made


def invited():
    new = {"email": f"u{number()}@acme.example", "firstName": "Kim", "role": "auditor"}
    return call("POST", "/api/users", new)


def signed_in():
    token = invited()["invitation"]["token"]
    return call("POST", f"/api/auth/accept-invitation/{token}", {"password": PASSWORD}, token=None)


def reset_token():
    user = signed_in()["user"]["id"]
    return call("POST", f"/api/users/{user}/link")["token"]


def message(later=True):
    new = {"to": "+23052345678", "message": "m"}
    if later:
        new["scheduledAt"] = later_on()
    return call("POST", "/api/communication/sms/send", new)["messageId"]


def later_on():
    import datetime

    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")


def suppression():
    return call("POST", "/api/suppressions", {"address": f"s{number()}@acme.example"})["id"]


def upload_session(whole=False, size=None):
    text = f"email\nq{number()}@example.com\n".encode()
    made = call("POST", "/api/upload/sessions", {"filename": "a.csv", "size": size or len(text)})["sessionId"]
    if whole:
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/octet-stream",
            "Content-Range": f"bytes 0-{len(text) - 1}/{len(text)}",
        }
        session.put(f"{BASE}/api/upload/sessions/{made}", data=text, headers=headers, timeout=30).raise_for_status()
    return made


def notification():
    return call("POST", "/api/notifications/broadcast", {"title": "t", "message": "m"})["ids"][0]


def account():
    return call("POST", "/api/accounts", {"slug": f"a{number()}", "provider": "in_app"})["id"]


def allowed():
    new = {"channel": "email", "address": f"l{number()}@acme.example"}
    call("POST", "/api/settings/allowed-addresses", new)
    return new


# Numbers that nobody here is written to.
def capped(prefix=""):
    return "999" + prefix[:12]


def cap():
    named = {"channel": "sms", "prefix": capped(str(next(count)))}
    call("PUT", "/api/settings/send-caps", {**named, "perDay": 10})
    return named


# Whom a test of a template may go to.
def colleague():
    phone = "+23057000001"
    new = {"email": f"u{number()}@acme.example", "firstName": "Kim", "role": "auditor", "phone": phone}
    token = call("POST", "/api/users", new)["invitation"]["token"]
    call("POST", f"/api/auth/accept-invitation/{token}", {"password": PASSWORD}, token=None)
    return phone


def role():
    new = {"slug": f"r{number()}".replace("-", "_"), "name": "R", "permissions": []}
    return call("POST", "/api/roles", new)["id"]


MAKE = {
    "contact_id": lambda: call("POST", "/api/contacts", {"email": f"c{number()}@acme.example"})["id"],
    "suppression_id": suppression,
    "campaign_id": campaign,
    "role_id": role,
    "user_id": lambda: invited()["user"]["id"],
    "key_id": lambda: call("POST", "/api/keys", {"name": "k", "scopes": ["users:read"]})["id"],
    "upload_session_id": upload_session,
    "upload_id": upload,
    "template_id": template,
    "version": lambda: "1",
    "session_id": lambda: call("GET", "/api/auth/sessions")["sessions"][0]["id"],
    "notification_id": notification,
    "account_id": account,
    "message_id": message,
    "template": template,
    "colleague": colleague,
}
kept = {}
turns = {}


def once(name):
    with lock:
        if name not in kept:
            kept[name] = None
            fresh = True
        else:
            fresh = kept[name] is None
    if fresh:
        kept[name] = MAKE[name]()
    return kept[name]


# What an operation needs beside a thing of its kind, by method and path.
SPECIAL = {
    ("POST", "/api/auth/accept-invitation/{token}"): lambda: {"token": invited()["invitation"]["token"]},
    ("POST", "/api/auth/reset-password/{token}"): lambda: {"token": reset_token()},
    ("POST", "/api/campaigns/{campaign_id}/approve"): lambda: {"campaign_id": in_review()},
    ("POST", "/api/campaigns/{campaign_id}/reject"): lambda: {"campaign_id": in_review()},
    ("POST", "/api/campaigns/{campaign_id}/retry-failed"): lambda: {"campaign_id": active()},
    ("PUT", "/api/templates/{template_id}/versions/{version}"): lambda: {"template_id": template(True), "version": "1"},
    ("POST", "/api/templates/{template_id}/versions/{version}/publish"): lambda: {"template_id": template(True), "version": "1"},
    ("DELETE", "/api/templates/{template_id}/versions/{version}"): lambda: {"template_id": template(True), "version": "1"},
    ("POST", "/api/upload/sessions/{upload_session_id}/complete"): lambda: {"upload_session_id": upload_session(True)},
    ("GET", "/api/references/{name}/{value}"): lambda: {"name": "policyId", "value": "POL123456"},
    ("DELETE", "/api/auth/sessions/{session_id}"): lambda: {"session_id": other_session()},
}
# These change their thing so that the next ones find it otherwise.
FRESH = {
    ("POST", "/api/campaigns/{campaign_id}/submit"),
    ("PUT", "/api/campaigns/{campaign_id}/status"),
    ("PATCH", "/api/campaigns/{campaign_id}"),
    ("PATCH", "/api/templates/{template_id}"),
    ("PUT", "/api/users/{user_id}"),
}
# These are asked by somebody of their own: they end sessions or change passwords.
OWN_PERSON = {
    ("POST", "/api/auth/logout"),
    ("DELETE", "/api/auth/sessions"),
    ("PUT", "/api/auth/change-password"),
    ("POST", "/api/auth/second-factor"),
    ("DELETE", "/api/auth/second-factor"),
}


def stranger():
    call("PUT", "/api/settings/registration", {"role": "customer"})
    return {"email": f"r{number()}@acme.example", "password": PASSWORD, "firstName": "Kim"}


# Now and then a body that is sure to be taken, where what is valid depends on more than its shape.
BODIES = {
    ("POST", "/api/auth/login"): lambda: {"email": OWNER["email"], "password": PASSWORD},
    ("POST", "/api/auth/register"): stranger,
    ("POST", "/api/auth/refresh"): lambda: {"refreshToken": signed_in()["refreshToken"]},
    ("PUT", "/api/auth/change-password"): lambda: {"currentPassword": PASSWORD, "newPassword": "another horse battery"},
    ("POST", "/api/auth/second-factor"): lambda: {"password": PASSWORD},
    ("DELETE", "/api/auth/second-factor"): lambda: {"password": PASSWORD},
    ("POST", "/api/auth/accept-invitation/{token}"): lambda: {"password": PASSWORD},
    ("POST", "/api/auth/reset-password/{token}"): lambda: {"password": PASSWORD},
    ("PUT", "/api/auth/profile"): lambda: {"firstName": "Asha", "lastName": "D"},
    ("POST", "/api/accounts"): lambda: {"slug": f"a{number()}", "provider": "in_app"},
    ("PUT", "/api/accounts/{account_id}"): lambda: {"priority": 0, "limits": [], "settings": {}},
    ("PUT", "/api/accounts/{account_id}/prices"): lambda: {"prices": []},
    ("PUT", "/api/accounts/{account_id}/secret"): lambda: {"secrets": {}},
    ("POST", "/api/campaigns"): lambda: {"name": "C", "type": "sms", "templates": {"sms": once("template")}},
    ("PATCH", "/api/campaigns/{campaign_id}"): lambda: {"name": "Other"},
    ("POST", "/api/campaigns/{campaign_id}/reject"): lambda: {"comment": "No"},
    ("POST", "/api/campaigns/{campaign_id}/conversions"): lambda: {"kind": "payment", "reference": "POL-1"},
    ("POST", "/api/conversions"): lambda: {"kind": "payment", "reference": "POL-1"},
    ("PUT", "/api/campaigns/{campaign_id}/status"): lambda: {"status": "stopped"},
    ("POST", "/api/communication/sms/send"): lambda: {"to": "+23052345678", "message": "m"},
    ("POST", "/api/communication/email/send"): lambda: {"to": "a@acme.example", "subject": "s", "message": "m"},
    ("POST", "/api/communication/whatsapp/send"): lambda: {"to": "+23052345678", "templateId": once("whatsapp")},
    ("POST", "/api/contacts"): lambda: {"email": f"c{number()}@acme.example"},
    ("PATCH", "/api/contacts/{contact_id}"): lambda: {"name": "Ann"},
    ("PUT", "/api/contacts/{contact_id}/consents"): lambda: {"consents": [{"channel": "sms", "granted": True, "source": "form"}]},
    ("PUT", "/api/contacts/{contact_id}/preferences"): lambda: {"channels": []},
    ("POST", "/api/keys"): lambda: {"name": "k", "scopes": ["users:read"]},
    ("POST", "/api/notifications/broadcast"): lambda: {"title": "t", "message": "m"},
    ("PUT", "/api/notifications/preferences"): lambda: {"preferences": []},
    ("POST", "/api/roles"): lambda: {"slug": f"r{number()}".replace("-", "_"), "name": "R", "permissions": []},
    ("PUT", "/api/roles/{role_id}"): lambda: {"name": "R", "permissions": []},
    ("POST", "/api/suppressions"): lambda: {"address": f"s{number()}@acme.example"},
    ("POST", "/api/templates"): lambda: {"name": f"T {number()}", "type": "sms", "content": "Hello"},
    ("POST", "/api/templates/{template_id}/versions"): lambda: {"content": "Hello again"},
    ("PUT", "/api/templates/{template_id}/versions/{version}"): lambda: {"content": "Hello again"},
    ("POST", "/api/templates/{template_id}/preview"): lambda: {"values": {}},
    ("POST", "/api/templates/{template_id}/test"): lambda: {"to": [once("colleague")]},
    ("POST", "/api/settings/allowed-addresses"): lambda: {"channel": "email", "address": f"l{number()}@acme.example"},
    ("PUT", "/api/settings/registration"): lambda: {"role": "customer"},
    ("PUT", "/api/settings/send-caps"): lambda: {"channel": "sms", "prefix": capped(), "perDay": 10},
    ("POST", "/api/upload/sessions"): lambda: {"filename": "a.csv", "size": 100},
    ("POST", "/api/users"): lambda: {"email": f"u{number()}@acme.example", "firstName": "Kim", "role": "auditor"},
    ("POST", "/api/contacts/bulk"): lambda: json.dumps({"email": f"b{number()}@acme.example"}),
    ("POST", "/api/suppressions/import"): lambda: f"address\ni{number()}@acme.example\n",
    ("POST", "/api/upload/file"): lambda: {"file": f"email\nf{number()}@example.com\n".encode()},
    ("POST", "/api/campaigns/{campaign_id}/clone"): lambda: {"name": "Copy"},
    ("POST", "/api/campaigns/{campaign_id}/submit"): lambda: {"comment": "Look at it"},
    ("POST", "/api/campaigns/{campaign_id}/approve"): lambda: {"comment": "Good"},
    ("PUT", "/api/users/{user_id}"): lambda: {"firstName": "Kim", "role": "auditor", "rowScope": "all"},
}
QUERIES = {
    ("DELETE", "/api/suppressions/{suppression_id}"): lambda: {"reason": "It was a mistake"},
    ("DELETE", "/api/settings/allowed-addresses"): allowed,
    ("DELETE", "/api/settings/send-caps"): cap,
}
CAP = ("PUT", "/api/settings/send-caps")
PIECE = ("PUT", "/api/upload/sessions/{upload_session_id}")
OWNER = call("GET", "/api/auth/me")


def whatsapp():
    new = {"name": f"W {number()}", "type": "whatsapp", "class": "obligation", "content": "Hello"}
    return call("POST", "/api/templates", new)["templateId"]


MAKE["whatsapp"] = whatsapp


def other_session():
    signed = call("POST", "/api/auth/login", {"email": OWNER["email"], "password": PASSWORD}, token=None)
    sessions = call("GET", "/api/auth/sessions", token=signed["token"])["sessions"]
    return next(one["id"] for one in sessions if one["current"])


def is_good(case, location):
    meta = case.meta
    return meta is None or not meta.is_negative_at(location)


@schemathesis.auth(refresh_interval=None)
class Bearer:
    def get(self, case, ctx):
        return signed_in()["token"] if (case.method.upper(), case.path) in OWN_PERSON else TOKEN

    def set(self, case, data, ctx):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(ctx, case, kwargs):
    key = (case.method.upper(), case.path)
    if case.path_parameters and is_good(case, ParameterLocation.PATH):
        names = [name for name in case.path_parameters if name in MAKE]
        if key in SPECIAL:
            given = SPECIAL[key]()
        elif key[0] == "DELETE" or key in FRESH:
            given = {name: MAKE[name]() for name in names}
        else:
            given = {name: once(name) for name in names}
        case.path_parameters.update(given)
    if key == CAP and isinstance(case.body, dict) and isinstance(prefix := case.body.get("prefix"), str):
        if prefix == "" or prefix.isdecimal():
            case.body["prefix"] = capped(prefix)
    negative = case.meta is not None and case.meta.generation.mode.is_negative
    if negative or not all(is_good(case, location) for location in ParameterLocation):
        return
    with lock:
        turn = turns[key] = turns.get(key, 0) + 1
    # The first, and one of three later.
    if turn % 3 == 1:
        for name in ("If-Match", "Idempotency-Key"):
            case.headers.pop(name, None)
        # What a query narrows is no part of what is to be reached.
        if case.query:
            case.query.clear()
        if key in QUERIES:
            case.query.update(QUERIES[key]())
        if key in BODIES:
            case.body = BODIES[key]()
        if key == PIECE:
            case.body = b"email\n"
            case.headers["Content-Range"] = f"bytes 0-{len(case.body) - 1}/{len(case.body)}"
            case.path_parameters["upload_session_id"] = upload_session(size=len(case.body))


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    return value if isinstance(value, (str, bytes)) else json.dumps(value)


@schemathesis.hook
def after_call(ctx, case, response):
    with lock:
        statuses = seen.setdefault(f"{case.method.upper()} {case.path}", {})
        statuses[str(response.status_code)] = statuses.get(str(response.status_code), 0) + 1
        with open(STATUSES, "w", encoding="utf-8") as file:
            json.dump(seen, file, indent=1, sort_keys=True)
