"""The Celery application and its one task."""

from celery import Celery
from celery.signals import worker_ready

from config import CONFIG, SETTINGS
from office import office

app = Celery("letters", broker=CONFIG["redisUrl"])
app.conf.update(
    task_default_queue="letters",
    task_ignore_result=True,
    # Acknowledged when it is done: otherwise a worker that dies loses what it had fetched.
    task_acks_late=True,
    worker_prefetch_multiplier=SETTINGS["prefetch"],
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
    # Greenlets acknowledge at the same time, each on a connection to Redis; kombu's own bound is ten.
    broker_transport_options={"max_connections": SETTINGS["concurrency"] + 20},
)


@app.task(name="letters.send")
def send(job):
    office().send(job)


@worker_ready.connect
def ready(**_):
    print("ready", flush=True)
