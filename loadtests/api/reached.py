"""Says which operations were never answered 2xx, and fails when they are more than one in ten, beside those that can't be.

    reached.py BASE_URL STATUSES.json
"""

import json
import sys
import urllib.request

# What no request here can have done, and why. One that was answered 2xx, or is no operation, has no place in it.
OUT_OF_REACH = {
    "POST /api/auth/second-factor/confirm": "takes the code that a device shows at the moment",
    "POST /api/templates/{template_id}/versions/{version}/submit": "takes a version that names a template of Meta's",
}

base, statuses = sys.argv[1:]
with urllib.request.urlopen(f"{base}/api/openapi.json") as answer:
    paths = json.load(answer)["paths"]
with open(statuses, encoding="utf-8") as file:
    seen = json.load(file)
operations = [f"{method.upper()} {path}" for path, item in paths.items() for method in item]
never = [one for one in operations if not any(status.startswith("2") for status in seen.get(one, {}))]
untrue = [one for one in OUT_OF_REACH if one not in never]
for one in never:
    print(f"never 2xx: {one} {seen.get(one, {})} {OUT_OF_REACH.get(one, '')}".rstrip())
for one in untrue:
    print(f"said to be out of reach, and is {'answered 2xx' if one in operations else 'no operation'}: {one}")
print(f"{len(operations) - len(never)} of {len(operations)} operations were answered 2xx")
sys.exit(bool(untrue) or 10 * len(never) > len(operations))
