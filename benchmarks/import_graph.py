"""Every import in the package and the graphs they make; import laws and the picture of the rooms are made from them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from networkx import DiGraph

DOOR = "worldkv"
"""`worldkv/__init__.py` hands on names of every room, so the graphs leave it out."""


@dataclass(frozen=True)
class Import:
    """One imported module by its full dotted name; `deferred` if loading the file does not execute it."""

    module: str
    line: int
    deferred: bool
    typing_only: bool


def imports_of(path: str, source: str) -> Iterator[Import]:
    """Every import in `source`, also relative, under TYPE_CHECKING and by `import_module("a.literal")`.

    Those of a stub (`.pyi`) are deferred: its package imports them when a name is first used.
    """
    package = path.split("/")[:-1]

    def walk(node: ast.AST, deferred: bool, typing_only: bool) -> Iterator[Import]:
        for module in _modules_named(node, package):
            yield Import(module, getattr(node, "lineno", 0), deferred, typing_only)
        inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guarded = node.body if isinstance(node, ast.If) and _is_type_checking(node.test) else []
        for child in ast.iter_child_nodes(node):
            typed = typing_only or child in guarded
            yield from walk(child, inside or typed, typed)

    yield from walk(ast.parse(source, path), deferred=path.endswith(".pyi"), typing_only=False)


def names_handed_on(source: str) -> frozenset[str]:
    """Names that the `__init__.py` of a package, or its stub, binds: imported, for types only too, or assigned."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return frozenset(names)


def sources_of(root: Path, folder: str) -> dict[str, str]:
    """The text of every Python file and stub in a folder of the repository, by its path relative to `root`."""
    files = sorted(file for pattern in ("*.py", "*.pyi") for file in (root / folder).rglob(pattern))
    return {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}


def module_of(path: str) -> str:
    """The dotted name of a file: `worldkv/sim/__init__.py` is `worldkv.sim`."""
    return path.rpartition(".")[0].removesuffix("/__init__").replace("/", ".")


def module_graph(sources: Mapping[str, str]) -> DiGraph[str]:
    """Who imports whom, module by module; every kind of import counts. An arrow's `where` is its first file and line.

    Args:
        sources: the package's files by path.
    """
    import networkx as nx

    graph: DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sorted({module_of(path) for path in sources} - {DOOR}))
    for path, source in sorted(sources.items()):
        module = module_of(path)
        for entry in imports_of(path, source) if module != DOOR else ():
            target = entry.module
            while target not in graph and "." in target:
                target = target.rpartition(".")[0]
            if target in graph and target != module and not graph.has_edge(module, target):
                graph.add_edge(module, target, where=f"{path}:{entry.line}")
    return graph


def room_graph(modules: DiGraph[str]) -> DiGraph[str]:
    """The module graph with every folder of the package as one node; files at the top stay nodes of their own."""
    import networkx as nx

    graph: DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sorted({_room(module) for module in modules}))
    for importer, target in modules.edges:
        arrow = _room(importer), _room(target)
        if arrow[0] != arrow[1] and not graph.has_edge(*arrow):
            graph.add_edge(*arrow, where=modules.edges[importer, target]["where"])
    return graph


def circles(graph: DiGraph[str]) -> list[str]:
    """One sentence for every group of nodes that reach one another: a circle in it, and the import of each arrow."""
    import networkx as nx

    found = []
    for group in sorted(sorted(group) for group in nx.strongly_connected_components(graph) if len(group) > 1):
        circle = nx.find_cycle(graph.subgraph(group), group[0])
        arrows = (
            f"{importer} imports {target} ({graph.edges[importer, target]['where']})" for importer, target in circle
        )
        found.append(", ".join(arrows))
    return found


def _room(module: str) -> str:
    return module.split(".")[1]


def _modules_named(node: ast.AST, package: list[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names] if base.startswith("worldkv") else [base]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        name = node.args[0].value
        return [name] if called in ("import_module", "__import__") and isinstance(name, str) else []
    return []


def _is_type_checking(test: ast.expr) -> bool:
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")) == "TYPE_CHECKING"
