"""A trained generator at work on photographs."""
