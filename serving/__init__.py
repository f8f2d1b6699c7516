"""Service of the champion: the web page, the REST API and folders of photographs."""
