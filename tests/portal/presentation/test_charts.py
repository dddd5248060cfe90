"""Charts: bars that stand where their numbers say, whatever the numbers are."""

from decimal import Decimal

import pytest
from flask import Flask, render_template_string
from hypothesis import given
from hypothesis import strategies as st

from portal.presentation.charts import HEIGHT, LABELS, WIDTH, bars

DAYS = st.integers(1, 90)


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=90), st.booleans())
def test_every_bar_starts_at_the_baseline_within_the_drawing(values: list[int], binary: bool) -> None:
    chart = bars([str(day) for day in range(len(values))], [values], binary=binary)
    assert chart.top >= max(values)
    for place, value in zip(chart.places, values, strict=True):
        [bar] = place.bars
        assert bar.y + bar.height == pytest.approx(HEIGHT, abs=0.02)
        assert bar.height == pytest.approx(value / chart.top * HEIGHT, abs=0.01)
        assert 0 <= place.x <= bar.x <= bar.x + bar.width <= WIDTH


@given(DAYS)
def test_no_more_labels_than_fit_on_a_narrow_screen(days: int) -> None:
    chart = bars([str(day) for day in range(days)], [[1] * days])
    assert 1 <= sum(place.is_labelled for place in chart.places) <= LABELS


def test_series_are_stacked() -> None:
    chart = bars(["a"], [[Decimal("1.5")], [Decimal("0.5")]])
    low, high = chart.places[0].bars
    assert (chart.top, low.height, high.height) == (2, 120, 40)
    assert high.y + high.height == low.y


def test_a_scale_of_bytes_ends_at_a_round_number_of_units() -> None:
    assert bars(["a"], [[3 * 1024 * 1024]], binary=True).top == 3 * 1024 * 1024
    assert bars(["a"], [[6_500]]).top == 8_000
    assert bars(["a"], [[7]]).top == 8


def test_nothing_below_zero_and_nothing_at_all_draws_no_bar() -> None:
    assert bars(["a", "b"], [[0, -4]]).is_empty
    assert bars([], [[]]).places == []


def test_a_series_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="one value for each label"):
        bars(["a", "b"], [[1]])


def test_the_macro_writes_a_picture_with_words_and_a_table(app: Flask) -> None:
    source = (
        '{% import "macros/charts.html" as charts %}'
        '{{ charts.bars("x", "Data", ["<1>", "2"], [("In", [0, 2048])], write="bytes") }}'
    )
    with app.test_request_context("/"):
        page = render_template_string(source)
    assert '<title id="x-svg-title">Data</title>' in page
    assert "&lt;1&gt;" in page
    assert "2.0 KiB" in page
    assert " style=" not in page
