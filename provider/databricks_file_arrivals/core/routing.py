"""Which rules take a directory: a walk down a tree of all rule directories, whatever their number.

The nearest directory wins: of all rules whose directory is the file's directory or one above it, those of
the one that is nearest to the file. Where several rule directories name the same real one, a literal beats a
pattern; then the longest literal beginning, the fewest wildcards, and the text's order decide. All active
rules of the winner fire.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from databricks_file_arrivals.core import paths, patterns
from databricks_file_arrivals.core.mapping import MappingRule, WorkflowMapping


@dataclass(frozen=True, slots=True)
class Match:
    """The real directory that a rule directory names, and its rules: all active, or all inactive, or none."""

    directory: str = ""
    rules: tuple[MappingRule, ...] = ()

    @property
    def active(self) -> bool:
        return bool(self.rules) and self.rules[0].active


class Router:
    """Finds the rules of directories. Costs O(depth) for each, and O(1) for each rule when it is made."""

    def __init__(self, mapping: WorkflowMapping) -> None:
        self._absolute: dict[str, _Node] = {}
        self._relative = _Node()
        self._roots: dict[str, tuple[str, int]] = {}
        for rule in mapping.rules:
            top = paths.top(rule.place)
            if top:
                node = self._absolute.get(top)
                if node is None:
                    node = self._absolute[top] = _Node()
            else:
                node = self._relative
            node.insert(paths.segments(top, rule.place), rule)

    def match(self, directory: str, root: str) -> Match:
        """The rules that take the files of `directory`, which a stream of `root` has seen.

        All active rules of the nearest directory that has any; else all inactive ones of the nearest that
        has those; else none.
        """
        inactive = Match()
        for match in self.matches(directory, root):
            if match.active:
                return match
            inactive = inactive if inactive.rules else match
        return inactive

    def matches(self, directory: str, root: str) -> Iterator[Match]:
        """All that name the directory or one above it, the one that wins first: the active rules, and then
        the inactive ones, of each."""
        directory = paths.canonical(directory)
        top = paths.top(directory)
        segments = paths.segments(top, directory)
        base, depth = self._base(root, top, directory)
        absolute = self._absolute[top].walk(segments) if top in self._absolute else []
        relative = self._relative.walk(segments[depth:]) if depth >= 0 else []
        for level in range(len(segments), -1, -1):
            groups: dict[str, list[MappingRule]] = {}
            for node in absolute[level] if level < len(absolute) else ():
                for rule in node.rules:
                    groups.setdefault(rule.place, []).append(rule)
            for node in relative[level - depth] if 0 <= level - depth < len(relative) else ():
                for rule in node.rules:
                    groups.setdefault(paths.canonical(rule.place, base), []).append(rule)
            if groups:
                real = paths.joined(top, segments[:level])
                order = sorted(groups, key=specificity) if len(groups) > 1 else groups
                ordered = [groups[text] for text in order]
                for active in (True, False):
                    matched = (_one_each(rules, active) for rules in ordered)
                    yield from (Match(real, rules) for rules in matched if rules)

    def _base(self, root: str, top: str, directory: str) -> tuple[str, int]:
        """The canonical root, and at what depth relative rules begin; -1 where the directory is not below."""
        if root not in self._roots:
            canonical = paths.canonical(root)
            self._roots[root] = (canonical, len(paths.segments(paths.top(canonical), canonical)))
        canonical, depth = self._roots[root]
        inside = directory == canonical or directory.startswith(canonical.rstrip("/") + "/")
        return (canonical, depth) if inside or patterns.has_wildcard(canonical) else (canonical, -1)


def specificity(directory: str) -> tuple[bool, int, int, str]:
    """The order of rule directories that name the same real one: what sorts first wins."""
    wildcards = sum(directory.count(wildcard) for wildcard in patterns.WILDCARDS)
    if not wildcards:
        return (False, 0, 0, directory)
    literal = min(directory.find(w) for w in patterns.WILDCARDS if w in directory)
    return (True, -literal, wildcards, directory)


def _one_each(rules: Sequence[MappingRule], active: bool) -> tuple[MappingRule, ...]:
    """One rule for each workflow and pattern: a row may stand there in its absolute and in its relative
    spelling."""
    if len(rules) == 1:
        return tuple(rules) if rules[0].active == active else ()
    found: dict[tuple[str, str | None], MappingRule] = {}
    for rule in rules:
        if rule.active == active:
            key = (rule.workflow_name, rule.file_pattern)
            known = found.get(key)
            if known is None or rule.directory < known.directory:
                found[key] = rule
    return tuple(sorted(found.values(), key=lambda r: (r.workflow_name, r.file_pattern or "")))


class _Node:
    """A place in the tree of rule directories: `rules` are those whose directory ends here."""

    __slots__ = ("_any_depth", "_literal", "_loops", "_wild", "rules")

    def __init__(self, loops: bool = False) -> None:
        self.rules: list[MappingRule] = []
        self._literal: dict[str, _Node] = {}
        self._wild: _Wildcards | None = None
        self._any_depth: _Node | None = None
        self._loops = loops

    def insert(self, segments: Sequence[str], rule: MappingRule) -> None:
        node = self
        for segment in segments:
            node = node._literal.get(segment) or node._child(segment)
        node.rules.append(rule)

    def _child(self, segment: str) -> _Node:
        if segment == patterns.ANY_DEPTH:
            if self._any_depth is None:
                self._any_depth = _Node(loops=True)
            return self._any_depth
        if patterns.has_wildcard(segment):
            if self._wild is None:
                self._wild = _Wildcards()
            return self._wild.child(segment)
        child = self._literal[segment] = _Node()
        return child

    def walk(self, segments: Sequence[str]) -> list[list[_Node]]:
        """The nodes that are reached with none, one, two … of the segments, as far as there are any."""
        here: list[_Node] = []
        self._arrive(here)
        levels = [here]
        for segment in segments:
            reached: list[_Node] = []
            for node in here:
                node._step(segment, reached)
            if not reached:
                break
            levels.append(reached)
            here = reached
        return levels

    def _arrive(self, reached: list[_Node]) -> None:
        """Add this node, and those that no further directory is needed for: `**` may stand for none."""
        node: _Node | None = self
        while node is not None:
            if node not in reached:
                reached.append(node)
            node = node._any_depth

    def _step(self, segment: str, reached: list[_Node]) -> None:
        """Add the nodes that one more directory leads to."""
        if self._loops and self not in reached:
            reached.append(self)
        literal = self._literal.get(segment)
        if literal is not None:
            literal._arrive(reached)
        if self._wild is not None:
            for node in self._wild.matching(segment):
                node._arrive(reached)


class _Wildcards:
    """Patterns of one name, found by their literal beginning and end: few have to be tried for a name."""

    __slots__ = ("_by_ends", "_nodes")

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._by_ends: dict[tuple[int, int], dict[tuple[str, str], list[str]]] = {}

    def child(self, pattern: str) -> _Node:
        if pattern not in self._nodes:
            self._nodes[pattern] = _Node()
            first = min(pattern.find(w) for w in patterns.WILDCARDS if w in pattern)
            last = max(pattern.rfind(w) for w in patterns.WILDCARDS)
            ends = (pattern[:first], pattern[last + 1 :])
            lengths = (len(ends[0]), len(ends[1]))
            self._by_ends.setdefault(lengths, {}).setdefault(ends, []).append(pattern)
        return self._nodes[pattern]

    def matching(self, name: str) -> Iterator[_Node]:
        for (first, last), by_ends in self._by_ends.items():
            ends = (name[:first], name[len(name) - last :] if last else "")
            for pattern in by_ends.get(ends, ()):
                if patterns.matches(name, pattern):
                    yield self._nodes[pattern]
