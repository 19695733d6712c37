"""Fills a container with Azure's own client: python fill_azure.py CONNECTION CONTAINER, names and sizes on standard input.

Each line is a JSON list of a name and the object's bytes in hexadecimal.
"""

import json
import sys

from azure.storage.blob import ContainerClient

container = ContainerClient.from_connection_string(sys.argv[1], sys.argv[2])
container.create_container()
for line in sys.stdin:
    name, content = json.loads(line)
    container.upload_blob(name, bytes.fromhex(content))
