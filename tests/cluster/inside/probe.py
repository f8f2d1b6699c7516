"""Tries to connect to each HOST:PORT that it is given; prints as JSON which ones accepted within seconds."""

import json
import socket
import sys

found = {}
for address in sys.argv[1:]:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
        found[address] = True
    except OSError:
        found[address] = False
print(json.dumps(found))
