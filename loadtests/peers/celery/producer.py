"""Enqueues everybody once a line comes on standard input, by groups over one connection; then waits for its end."""

import itertools
import json
import sys

from celery import group

from config import CONFIG, SETTINGS
from tasks import app, send


def enqueue(jobs, producer):
    if SETTINGS["chunk"] > 1:
        # Celery's chunks: one task does many recipients, one after the other.
        send.chunks(((job,) for job in jobs), SETTINGS["chunk"]).group().apply_async(producer=producer)
    else:
        # Otherwise Celery writes a description of the arguments, for logs: a fifth of the time, and addresses in them.
        tasks = (send.s(job).set(argsrepr="(job,)") for job in jobs)
        group(tasks).apply_async(producer=producer, add_to_parent=False)


with app.producer_pool.acquire(block=True) as producer, open(CONFIG["people"], encoding="utf-8") as people:
    print("ready", flush=True)
    sys.stdin.readline()
    jobs = map(json.loads, people)
    while bulk := list(itertools.islice(jobs, SETTINGS["bulk"])):
        enqueue(bulk, producer)
    print("done", flush=True)
    sys.stdin.read()
