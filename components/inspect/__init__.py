"""The inspect step: describes the photographs, and measures their drift from the champion's."""
