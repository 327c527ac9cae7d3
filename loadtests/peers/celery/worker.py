"""Becomes a Celery worker, by Celery's own command line: it is what prepares a process for gevent."""

import os
import sys
from pathlib import Path

from config import SETTINGS

celery = Path(sys.executable).with_name("celery")
arguments = [
    celery, "-A", "tasks", "worker",
    "-P", SETTINGS["pool"], "-c", str(SETTINGS["concurrency"]),
    "-n", f"letters-{os.getpid()}@%h", "-l", "WARNING",
    # Nothing that workers tell each other is of use here.
    "--without-gossip", "--without-mingle", "--without-heartbeat",
]
os.execv(celery, [str(argument) for argument in arguments])
