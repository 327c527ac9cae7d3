"""What a task does: render, post, read the answer, record. One a process, made after the fork."""

import json
import threading

import urllib3
from psycopg_pool import ConnectionPool

from config import CONFIG, SETTINGS
from letter import Letter

INSERT = "insert into peer_results (n, address, provider_id) values (%s, %s, %s)"


class Office:
    def __init__(self):
        self._letter = Letter(CONFIG["letter"]["content"]["email"])
        size = 1 if SETTINGS["pool"] == "prefork" else SETTINGS["connections"]
        self._database = ConnectionPool(
            CONFIG["databaseUrl"], min_size=size, max_size=size, kwargs={"autocommit": True, "prepare_threshold": 1}, open=True
        )
        self._sink = urllib3.connection_from_url(CONFIG["sinkUrl"], maxsize=SETTINGS["concurrency"], retries=False)
        self._headers = {"api-key": CONFIG["apiKey"], "content-type": "application/json"}

    def send(self, job):
        provider_id = self._post(job)
        with self._database.connection() as connection:
            connection.execute(INSERT, (job["n"], job["address"], provider_id))

    def _post(self, job):
        subject, html, text = self._letter.render(job["variables"])
        body = {
            "sender": CONFIG["sender"],
            "to": [{"email": job["address"]}],
            "subject": subject,
            "htmlContent": html,
            "textContent": text,
            "headers": {"Idempotency-Key": job["key"], "X-Mailin-custom": job["id"]},
            "tags": [job["id"]],
        }
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        answer = self._sink.urlopen("POST", "/v3/smtp/email", body=content, headers=self._headers)
        if answer.status != 201:
            raise RuntimeError(f"the sink answered {answer.status}")
        return json.loads(answer.data)["messageId"].strip("<>")


_office = None
_lock = threading.Lock()


def office():
    global _office
    if _office is None:
        with _lock:
            if _office is None:
                _office = Office()
    return _office
