"""From a few facts about a panel to the JSON that Grafana reads. Pure functions.

Where every instance of gateway or portal says the same, the boards ask for the largest, as the recording rules do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

type Json = dict[str, Any]

COLUMNS = 24
HEIGHTS = {"stat": 4, "timeseries": 8, "table": 8, "row": 1}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The alerts of Prometheus as Grafana lists them.
ALERTS = "/alerting/list?dataSource=Prometheus"
GOOD, WORSE, BAD = "green", "orange", "red"
# What 0 and 1 mean for most parts.
UP = ("down", "up")
DAY = 86400


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `queries` maps what is asked to its legend; `steps` are the values from which it is worse, and bad.

    With `falling` steps less is worse; what is `signed` may be below zero. `words` stand for the values 0 and 1.
    `alerts` are named in its links.
    """

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    text: str = ""
    steps: tuple[float, ...] = ()
    falling: bool = False
    words: tuple[str, str] | None = None
    stacked: bool = False
    signed: bool = False
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """What a reader may choose above the panels: the values of a label, all of them at first."""

    name: str
    title: str
    asked: str


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard: rows of panels by their headings."""

    uid: str
    title: str
    text: str
    rows: Mapping[str, Sequence[Panel]]
    variables: tuple[Variable, ...] = field(default=())


def stat(title: str, query: str, **more: Any) -> Panel:
    """A single figure."""
    return Panel(title, {query: ""}, kind="stat", **{"width": 4, **more})


def dashboard(board: Board, others: Sequence[Board]) -> Json:
    """Return a whole dashboard."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.text,
        "tags": ["zenzefi"],
        "schemaVersion": 41,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [_link("Alerts", ALERTS), *(_link(other.title, f"/d/{other.uid}", keep=True) for other in others)],
        "templating": {"list": [_datasource(), *(_variable(each) for each in board.variables)]},
        "panels": list(_placed(board.rows)),
    }


def _placed(rows: Mapping[str, Sequence[Panel]]) -> Iterator[Json]:
    """Put panels side by side while they fit, each row below its heading."""
    number = top = 0
    for heading, panels in rows.items():
        number += 1
        row = {"id": number, "type": "row", "title": heading, "collapsed": False, "panels": []}
        yield row | {"gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": HEIGHTS["row"]}}
        top, left, height = top + HEIGHTS["row"], 0, 0
        for panel in panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": HEIGHTS[panel.kind]}
            yield {"id": number, "gridPos": place} | _panel(panel)
            left, height = left + panel.width, max(height, HEIGHTS[panel.kind])
        top += height


def _panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "links": [_link(name, f"{ALERTS}&search=rule:{name}") for name in panel.alerts],
        "targets": [_target(panel, number, *query) for number, query in enumerate(panel.queries.items())],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }


def _target(panel: Panel, number: int, query: str, legend: str) -> Json:
    now = panel.kind != "timeseries"
    return {
        "refId": chr(ord("A") + number),
        "datasource": DATASOURCE,
        "expr": query,
        "legendFormat": legend or "__auto",
        "instant": now,
        "range": not now,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _defaults(panel: Panel) -> Json:
    colours = (BAD, WORSE, GOOD) if panel.falling else (GOOD, WORSE, BAD)
    if len(panel.steps) == 1:
        colours = (colours[0], colours[-1], colours[-1])
    values: list[float | None] = [None, *panel.steps]
    steps = [{"color": colour, "value": value} for colour, value in zip(colours, values, strict=False)]
    look = "line+area" if panel.steps else "off"
    stacking = {"group": "A", "mode": "normal" if panel.stacked else "none"}
    lines = {"lineWidth": 1, "fillOpacity": 25 if panel.stacked else 5, "showPoints": "never", "spanNulls": False}
    return {
        "unit": panel.unit,
        "min": 0 if panel.kind == "timeseries" and not panel.signed else None,
        "noValue": "none" if panel.kind == "table" else "no data",
        "mappings": _mappings(panel.words),
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": lines | {"stacking": stacking, "thresholdsStyle": {"mode": look}}
        if panel.kind == "timeseries"
        else {},
    }


def _mappings(words: tuple[str, str] | None) -> list[Json]:
    if words is None:
        return []
    return [{"type": "value", "options": {str(value): {"text": word} for value, word in enumerate(words)}}]


_OPTIONS: Mapping[str, Json] = {
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "background"},
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}


def _link(title: str, url: str, *, keep: bool = False) -> Json:
    kept = {"keepTime": True, "includeVars": False} if keep else {}
    return {"title": title, "url": url, "type": "link", "targetBlank": False} | kept


def _datasource() -> Json:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1}


def _variable(variable: Variable) -> Json:
    return {
        "name": variable.name,
        "label": variable.title,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": variable.asked, "refId": variable.name},
        "definition": variable.asked,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }
