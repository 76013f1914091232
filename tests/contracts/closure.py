"""Which files of facet each step's code is made of, and whether dvc.yaml says the same.

DVC knows a step's code only from its ``deps``: a file too few and an edit leaves the step "up to date", a file too many
and an edit to something else costs days of GPU. The closure is read from the sources, nothing is imported: every import
of facet counts, inside functions too, with the ``__init__.py`` of each package on the way; imports for type checkers
alone do not. A file that is not Python (a template, say) belongs to the module that names it in a string.

``python -m tests.contracts.closure`` says what differs; ``--write`` mends the deps in dvc.yaml and nothing else in it.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "facet"
STAGE_COMMAND = re.compile(rf"-m\s+{PACKAGE}\.stages\.(\w+)")


class ClosureError(Exception):
    """The closure can't be told from the sources, or dvc.yaml can't be edited line by line."""


# --- the closure ------------------------------------------------------------------------------------------------------


class Sources:
    """The modules of one package below ``src``, and what each of them imports."""

    def __init__(self, src: Path, package: str = PACKAGE) -> None:
        self.src = src
        self.package = package
        self.files = {
            ".".join(path.relative_to(src).with_suffix("").parts).removesuffix(".__init__"): path
            for path in sorted((src / package).rglob("*.py"))
        }

    def closure(self, module: str) -> set[Path]:
        """Every file that importing or running ``module`` can read, as paths below the folder that holds ``src``."""
        if module not in self.files:
            raise ClosureError(f"there is no module {module} below {self.src}")
        seen: set[str] = set()
        waiting = [module]
        while waiting:
            for name in self._with_parents(waiting.pop()):
                if name not in seen:
                    seen.add(name)
                    waiting += self.imports(name)
        code = {self.files[name] for name in seen if name in self.files}
        return {path.relative_to(self.src.parent) for path in code.union(*(self.data_files(path) for path in code))}

    def imports(self, module: str) -> set[str]:
        """The modules of the package that ``module`` names in its import statements."""
        if module not in self.files:  # a folder without __init__.py
            return set()
        path = self.files[module]
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        found: set[str] = set()
        for node in _executed(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            match node:
                case ast.Import(names=names):
                    found.update(alias.name for alias in names)
                case ast.ImportFrom(module=base, names=names, level=level):
                    origin = ".".join(
                        filter(None, [".".join(package.split(".")[: len(package.split(".")) - level + 1]), base])
                        if level
                        else [base or ""]
                    )
                    found.add(origin)
                    found.update(f"{origin}.{alias.name}" for alias in names)
                    if any(alias.name == "*" for alias in names) and self._is_ours(origin):
                        raise ClosureError(f"{path}:{node.lineno}: name what is imported from {origin} instead of *")
                case ast.Call(func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module")):
                    found.add(self._called(node, path))
        return {name for name in found if self._is_ours(name) and self._exists(name)}

    def data_files(self, module_file: Path) -> set[Path]:
        """Files other than Python, beside a module or below it, that the module names in a string."""
        folder = module_file.parent
        beside = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if _is_data(p)}
        if not beside:
            return set()
        strings = {
            node.value
            for node in ast.walk(ast.parse(module_file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        return {path for name, path in beside.items() if name in strings or path.name in strings}

    def _called(self, call: ast.Call, path: Path) -> str:
        match call.args:
            case [ast.Constant(value=str(name)), *_] if not name.startswith("."):
                return name
        raise ClosureError(f"{path}:{call.lineno}: a computed import hides from DVC what it reads; write an import")

    def _is_ours(self, name: str) -> bool:
        return name == self.package or name.startswith(self.package + ".")

    def _exists(self, name: str) -> bool:
        return name in self.files or (self.src / name.replace(".", "/")).is_dir()

    @staticmethod
    def _with_parents(module: str) -> list[str]:
        parts = module.split(".")
        return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _is_data(path: Path) -> bool:
    return path.is_file() and path.suffix not in {".py", ".pyc"} and path.name != "py.typed"


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below ``if TYPE_CHECKING:``."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _asks_for_type_checking(node.test):
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def _asks_for_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False


# --- dvc.yaml ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One stage of dvc.yaml that runs a module of ``facet.stages``."""

    name: str
    module: str
    code: tuple[str, ...]
    lines: Mapping[str, int]  # dep -> its line, counted from 0


def steps(dvc_yaml: Path) -> list[Step]:
    """The stages of ``dvc_yaml`` whose command is ``python -m facet.stages.NAME``."""
    stages = YAML().load(dvc_yaml.read_text(encoding="utf-8"))["stages"]
    found = []
    for name, stage in stages.items():
        body = stage.get("do", stage)
        command = body["cmd"] if isinstance(body["cmd"], str) else " && ".join(body["cmd"])
        module = STAGE_COMMAND.search(command)
        if module is None:
            continue
        deps = body.get("deps")
        if not deps or deps.fa.flow_style():
            raise ClosureError(f"{dvc_yaml}: stage {name} needs a `deps:` list with one dep a line")
        lines = {str(dep): deps.lc.data[index][0] for index, dep in enumerate(deps)}
        code = tuple(dep for dep in lines if dep.startswith(f"src/{PACKAGE}/") or dep == f"src/{PACKAGE}")
        found.append(Step(name, module[1], code, lines))
    return found


def differences(root: Path) -> dict[str, tuple[list[str], list[str]]]:
    """For each step whose deps are wrong: the files that are missing, and those that are too many."""
    sources = Sources(root / "src")
    wrong = {}
    for step in steps(root / "dvc.yaml"):
        right = {path.as_posix() for path in sources.closure(f"{PACKAGE}.stages.{step.module}")}
        missing, extra = sorted(right - set(step.code)), sorted(set(step.code) - right)
        if missing or extra:
            wrong[step.name] = (missing, extra)
    return wrong


def write(root: Path) -> None:
    """Make the code deps of every step in ``root/dvc.yaml`` its closure; all other lines stay as they are."""
    dvc_yaml = root / "dvc.yaml"
    lines = dvc_yaml.read_text(encoding="utf-8").splitlines(keepends=True)
    wrong = differences(root)
    for step in sorted(steps(dvc_yaml), key=lambda step: max(step.lines.values()), reverse=True):  # last first
        if step.name not in wrong:
            continue
        missing, extra = wrong[step.name]
        places = sorted(step.lines[dep] for dep in step.code)
        indent = re.match(r"\s*", lines[max(step.lines.values())])[0]
        kept = {dep: lines[step.lines[dep]] for dep in step.code if dep not in extra}
        kept.update({dep: f"{indent}- {dep}\n" for dep in missing})
        at = places[0] if places else max(step.lines.values()) + 1
        for place in reversed(places):
            del lines[place]
        lines[at:at] = [kept[dep] for dep in sorted(kept)]
    if wrong:
        dvc_yaml.write_text("".join(lines), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.contracts.closure", description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="mend the code deps in dvc.yaml")
    arguments = parser.parse_args()
    try:
        wrong = differences(ROOT)
        if arguments.write:
            write(ROOT)
    except ClosureError as error:
        print(error, file=sys.stderr)
        return 1
    for name, (missing, extra) in wrong.items():
        for sign, deps in (("+", missing), ("-", extra)):
            print("\n".join(f"{name}: {sign} {dep}" for dep in deps), end="\n" if deps else "")
    if not wrong:
        print("deps equal imports in every step")
    elif not arguments.write:
        print("dvc.yaml differs from the imports: python -m tests.contracts.closure --write", file=sys.stderr)
    return int(bool(wrong) and not arguments.write)


if __name__ == "__main__":
    sys.exit(main())
