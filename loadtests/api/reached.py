"""Says which operations were never answered 2xx, and fails when they are more than one in ten.

    reached.py BASE_URL STATUSES.json
"""

import json
import sys
import urllib.request

base, statuses = sys.argv[1:]
with urllib.request.urlopen(f"{base}/api/openapi.json") as answer:
    paths = json.load(answer)["paths"]
with open(statuses, encoding="utf-8") as file:
    seen = json.load(file)
operations = [f"{method.upper()} {path}" for path, item in paths.items() for method in item]
never = [one for one in operations if not any(status.startswith("2") for status in seen.get(one, {}))]
for one in never:
    print(f"never 2xx: {one} {seen.get(one, {})}")
print(f"{len(operations) - len(never)} of {len(operations)} operations were answered 2xx")
sys.exit(10 * len(never) > len(operations))
