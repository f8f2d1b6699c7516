"""Tests of docstrings: each begins with a verb or a noun, and everything public in model/ has one."""

import ast
from collections.abc import Iterator

from tests.support.source import sources

UNWANTED = {"Of", "What", "Whether", "Those", "As", "How", "Why", "Where", "When"}

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def unwanted(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields the line and the first word of each unwanted docstring, those below attributes included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first = (node.value.value.split() or [""])[0].rstrip(",.:;")
            if first in UNWANTED:
                yield node.lineno, first


def undocumented(node: Documented, name: str = "") -> Iterator[tuple[int, str]]:
    """Yields the line and the name of each public module, class, function and method without a docstring."""
    if not ast.get_docstring(node) and not isinstance(node, ast.Module):
        yield node.lineno, name
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, Documented) and not child.name.startswith("_"):
                yield from undocumented(child, f"{name}.{child.name}".lstrip("."))


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    found = [
        f"{path}:{line}: a docstring begins with {word!r}; begin with a verb, such as Returns, or with a noun"
        for path, tree in sources()
        for line, word in unwanted(tree)
    ]
    assert not found, "\n" + "\n".join(found)


def test_every_public_name_in_model_has_a_docstring() -> None:
    found = [
        f"{path}:{line}: {name} has no docstring"
        for path, tree in sources("model")
        for line, name in undocumented(tree)
    ]
    assert not found, "\n" + "\n".join(found)
