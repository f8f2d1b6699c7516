"""Versions of the photographs and the champion that the repository ships."""
