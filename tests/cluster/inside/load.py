"""Has a photograph colored again and again, URL for SECONDS; prints as JSON how it went.

requests: how many were sent; versions: those that answered, in order, each once in a row; failures: what went wrong.
"""

import io
import json
import sys
import time
import urllib.request

from PIL import Image

photograph = io.BytesIO()
Image.effect_noise((48, 48), 60).save(photograph, "JPEG")
found = {"requests": 0, "versions": [], "failures": []}
deadline = time.monotonic() + float(sys.argv[2])
while time.monotonic() < deadline:
    found["requests"] += 1
    try:
        with urllib.request.urlopen(f"{sys.argv[1]}/v1/colorize", photograph.getvalue(), timeout=60) as answer:
            answer.read()
            version = answer.headers["Model-Version"]
    except OSError as error:
        found["failures"].append(str(error))
    else:
        if found["versions"][-1:] != [version]:
            found["versions"].append(version)
    time.sleep(0.2)
print(json.dumps(found))
