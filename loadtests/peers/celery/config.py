"""What the harness tells."""

import json
import os
from pathlib import Path

CONFIG = json.loads(Path(os.environ["PEER_CONFIG"]).read_text(encoding="utf-8"))
SETTINGS = CONFIG["settings"]
