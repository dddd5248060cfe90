"""Scopes: which methods and paths a token may reach. Pure functions over compiled rules.

A rule is a path matched segment by segment after one decoding; `{id}` stands for exactly one segment and a last
`**` for any depth, including none. `GET,HEAD path` limits the methods (docs/spec/http.md#scopes).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from models.services.gateway import request_paths

ANY_DEPTH = "**"
_PLACEHOLDER = re.compile(r"\{\w+\}")
_UNSURE = re.compile(r"[;?#]")
_METHODS = re.compile(r"[A-Z][A-Z-]*(,[A-Z][A-Z-]*)*")
# Methods of a rule that names none. Others, such as those of WebDAV, may have unexpected effects: a rule
# has to name them.
ORDINARY_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule; None among the segments matches any one segment, no methods means all ordinary ones."""

    segments: tuple[str | None, ...]
    open_ended: bool
    methods: frozenset[str]
    # As written in the settings.
    source: str

    @property
    def covers_everything(self) -> bool:
        """Whether this rule is `**`, for all methods."""
        return self.open_ended and not self.segments and not self.methods

    def allows(self, method: str, segments: Sequence[str]) -> bool:
        """Return whether this rule covers a request."""
        if method not in (self.methods or ORDINARY_METHODS):
            return self.covers_everything
        wanted = self.segments
        if len(segments) < len(wanted) or (len(segments) > len(wanted) and not self.open_ended):
            return False
        pairs = zip(wanted, segments, strict=False)
        return all(
            not request_paths.is_blank(given) if expected is None else expected == given for expected, given in pairs
        )


class Scope:
    """The rules of one scope."""

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules = tuple(_compile(rule) for rule in rules)
        # `full` allows every path that is valid under every scope.
        self.is_unrestricted = any(rule.covers_everything for rule in self._rules)

    @property
    def first_page(self) -> str:
        """The start path for browsers: the root, or the first rule that is a single page."""
        if self.allows("GET", [""]):
            return "/"
        named = (
            rule for rule in self._rules if None not in rule.segments and (not rule.methods or "GET" in rule.methods)
        )
        rule = next(named, None)
        return "/" if rule is None else "/" + "/".join(quote(segment or "") for segment in rule.segments)

    def allows(self, method: str, segments: Sequence[str]) -> bool:
        """Return whether a request is within the scope; `segments` are those of the path decoded once.

        Under a restricted scope a segment with `;`, or with an encoded `?` or `#`, is refused: servers differ in
        whether what follows still belongs to the path.
        """
        return self.is_unrestricted or self.rule_for(method, segments) is not None

    def rule_for(self, method: str, segments: Sequence[str]) -> Rule | None:
        """Return the first rule that covers a request, if one does."""
        if not self.is_unrestricted and any(_UNSURE.search(segment) for segment in segments):
            return None
        return next((rule for rule in self._rules if rule.allows(method, segments)), None)


@dataclass(frozen=True, slots=True)
class ScopeDecision:
    """Result of the path checks: `code` is empty or that of the refusal, `fault` is the fault of the path,
    `rule` is the one that lets the request pass.
    """

    code: str
    fault: str = ""
    rule: str = ""


def find_rule(scope: Scope | None, method: str, raw_path: bytes) -> ScopeDecision:
    """Return the result of the gate's steps 1 and 6 for a request; `raw_path` is without its query."""
    is_restricted = scope is not None and not scope.is_unrestricted
    fault = request_paths.strict_path_fault(raw_path) if is_restricted else request_paths.path_fault(raw_path)
    if fault is not None:
        return ScopeDecision("bad_request", fault)
    rule = None if scope is None else scope.rule_for(method, request_paths.decoded_segments(raw_path))
    return ScopeDecision("scope_denied") if rule is None else ScopeDecision("", rule=rule.source)


def compile_all(scopes: Mapping[str, Iterable[str]]) -> dict[str, Scope]:
    """Compile every scope of the settings; an unknown scope is missing and grants access to nothing."""
    return {name: Scope(rules) for name, rules in scopes.items()}


def _compile(rule: str) -> Rule:
    words = rule.split()
    methods: frozenset[str] = frozenset()
    if len(words) == 2 and _METHODS.fullmatch(words[0]):
        methods = frozenset(words.pop(0).split(","))
    if len(words) != 1:
        raise ValueError(f"scopes: {rule!r} is not a path, or methods and a path")
    parts = words[0].strip("/").split("/")
    open_ended = parts[-1] == ANY_DEPTH
    if open_ended:
        parts.pop()
    if ANY_DEPTH in parts or "" in parts:
        raise ValueError(f"scopes: {rule!r}: ** may only come last, and no segment may be empty")
    segments = tuple(None if _PLACEHOLDER.fullmatch(part) else part for part in parts)
    return Rule(segments, open_ended, methods, rule)
