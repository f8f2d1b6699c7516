"""Service of the champion: the web page, the REST API and folders of photographs."""

import components  # noqa: F401 - importing it sets the threads of PyTorch before a module here loads it
