"""The champion at work: folders of photographs."""
