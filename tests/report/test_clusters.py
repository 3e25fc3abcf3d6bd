"""The page's clusters: pictures, cards and the table from hand-made tables, and what is left out when columns are missing."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from astrosurvey.products import Catalog
from astrosurvey.report.cluster_plots import MOST_BACKGROUND, MOST_MEMBERS, STEPS, Axis, Span, dots, ordered, panel, sky_map, style
from astrosurvey.report.cluster_times import MOST_LIVES, events_of, timeline
from astrosurvey.report.clusters import MOST_CARDS, MOST_ROWS, make_clusters
from astrosurvey.report.gather import gather
from astrosurvey.report.render import report

from .runs import put, write_about

N, CLUSTERED = 400, 300
COLUMNS = ["ra", "dec", "parallax", "pmra", "pmdec"]


def sources(*, sky=True, magnitudes=True):
    rng = np.random.default_rng(1)
    places = np.where(np.arange(N) < 100, 10.0, 200.0)
    columns = {
        **{name: rng.normal(size=N) for name in ("x_gaia_parallax", "x_gaia_pmra", "x_gaia_pmdec")},
        **({"x_gaia_phot_g_mean_mag": rng.uniform(8, 18, N), "x_gaia_bp_rp": rng.normal(1, 0.5, N)} if magnitudes else {}),
    }
    return Catalog.from_columns(
        "source",
        {
            "source_id": np.arange(N) + 7, "tile_id": 1, "x": np.nan, "y": np.nan, "x_min": 0, "x_max": 1, "y_min": 0, "y_max": 1, "flags": 0,
            "ra": (places + rng.normal(size=N)) % 360 if sky else np.nan, "dec": rng.normal(size=N) if sky else np.nan,
            "n_pixels": 0, "significance": np.nan, "n_child": 0, "primary": True, **columns,
        },
    )  # fmt: skip


def found(*, ordering=True, clusters=3):
    """Return tables of nested clusters: 1 holds 2, and 3 lies outside; more are small."""
    rows = [
        np.arange(200),
        np.arange(100),
        np.arange(200, CLUSTERED),
        *(np.arange(CLUSTERED + 2 * k, CLUSTERED + 2 * k + 2) for k in range(46)),
    ]
    rows = rows[:clusters]
    smallest = np.full(N, -1)
    for k in (0, 2, 1, *range(3, clusters)):
        smallest[rows[k]] = k
    ids = np.arange(clusters) * 10 + 5
    inside = smallest >= 0
    member = {"cluster_id": np.repeat(ids, [len(r) for r in rows]), "source_id": np.concatenate(rows) + 7, "probability": 0.9}
    point = {
        "source_id": np.arange(N) + 7, "method": "clustering.astrolink", "flags": np.where(np.arange(N) == N - 1, 1, 0),
        "cluster_id": np.ma.MaskedArray(ids[smallest], ~inside), "probability": np.ma.MaskedArray(np.full(N, 0.9), ~inside),
    }  # fmt: skip
    if ordering:
        point |= {"log_density": np.sin(np.arange(N)), "position": np.ma.MaskedArray(np.arange(N), np.arange(N) == N - 1)}
    table = {
        "cluster_id": ids, "parent_cluster_id": np.ma.MaskedArray(np.full(clusters, 5), np.arange(clusters) != 1), "method": "clustering.astrolink",
        "level": (np.arange(clusters) == 1).astype(int), "n_member": [len(r) for r in rows], "ra": np.nan, "dec": np.nan,
        "significance": 10.0 - np.arange(clusters) if ordering else None,
    }  # fmt: skip
    return {
        "clusters": Catalog.from_columns("cluster", table),
        "members": Catalog.from_columns("cluster_member", member),
        "points": Catalog.from_columns("cluster_point", point),
    }


def made(root, tables=None, given=None, columns=COLUMNS):
    write_about(root, {"read": {"use": "io.catalog"}, "groups": {"use": "x", "in": {"sources": "read.sources"}, "columns": columns}})
    put(root, "read", "gaia", {"sources": sources() if given is None else given})
    put(root, "groups", None, found() if tables is None else tables)
    return root


def test_section_shows_plot_map_cards_and_table(tmp_path):
    (one,) = make_clusters(gather(made(tmp_path / "run"))).clusterings
    assert one.title == "groups"
    assert dict(one.facts) == {"sources": "400", "clusters": "3", "in a cluster": "300 (75 %)", "without a value": "1"}
    assert one.plot.count("<rect") == 3
    assert [len(card.panels) for card in one.cards] == [3, 3, 3]
    assert one.cards[0].facts == "200 members, significance 10 σ"
    assert one.map_title == "On the sky"
    assert "pmdec" in one.cards[0].panels[1]
    assert "bp_rp" in one.cards[0].panels[2]
    assert [name for name, _ in one.header] == ["", "inside", "members", "significance, σ", "id"]
    assert one.rows[1].cells == ["2", "1", "100", "9", "15"]
    for svg in (one.plot, one.map, *one.cards[2].panels):
        ElementTree.fromstring(svg)


def test_the_page_holds_the_section(tmp_path, field):
    page = report(made(tmp_path / "run"))
    assert "cannot be shown" not in page
    assert 'id="clusters"' in page
    assert page.count('class="chart clusters points"') == 1 + 9
    assert 'id="clusters"' not in report(field)


def test_without_order_positions_or_magnitudes(tmp_path):
    root = made(tmp_path / "run", found(ordering=False), sources(sky=False, magnitudes=False))
    (one,) = make_clusters(gather(root)).clusterings
    assert one.plot == ""
    assert one.map_title == "In the first two columns"
    assert [len(card.panels) for card in one.cards] == [2, 2, 2]
    assert [name for name, _ in one.header] == ["", "inside", "members", "id"]


def test_redshifts_are_drawn_over_the_sky(tmp_path):
    (one,) = make_clusters(gather(made(tmp_path / "run", columns=["ra", "dec", "pmra"]))).clusterings
    assert "Δ right ascension" in one.cards[0].panels[1]
    assert "pmra" in one.cards[0].panels[1]


def test_no_cluster_and_no_source_are_shown(tmp_path):
    empty = {name: Catalog.empty(table) for name, table in (("clusters", "cluster"), ("members", "cluster_member"))}
    (one,) = make_clusters(gather(made(tmp_path / "a", empty | {"points": found()["points"].replace(cluster_id=None)}))).clusterings
    assert one.rows == one.cards == []
    page = report(made(tmp_path / "b", empty | {"points": Catalog.empty("cluster_point")}, Catalog.empty("source")))
    assert "cannot be shown" not in page


def test_many_clusters_are_cut(tmp_path):
    (one,) = make_clusters(gather(made(tmp_path / "run", found(clusters=49)))).clusterings
    assert len(one.cards) == MOST_CARDS
    assert one.total == 49
    assert len(one.rows) == min(49, MOST_ROWS)


def test_unknown_columns_are_no_reason_to_fail(tmp_path):
    (one,) = make_clusters(gather(made(tmp_path / "run", columns=["nothing"]))).clusterings
    assert [len(card.panels) for card in one.cards] == [2, 2, 2]


class TestPictures:
    def test_the_plot_is_bounded(self):
        n = 100_000
        numbers = np.where(np.arange(n) < n // 2, 1, 0)
        svg = ordered(np.linspace(5, 0, n), numbers, [Span(1, 0, 0, n // 2, "<b>"), Span(2, 99, 0, 5, "deep")])
        assert svg.count("H") <= STEPS + 20
        assert svg.count("<rect") == 1
        assert "&lt;b&gt;" in svg
        assert len(re.findall('class="area', svg)) == 2

    def test_numbers_at_the_end_of_an_axis_are_whole(self):
        svg = ordered(np.arange(20_000.0), np.zeros(20_000, int), [])
        (at,) = re.findall(r'x="([\d.]+)" y="\d+">20000<', svg)
        assert float(at) + 3.5 * 5 <= 1000

    def test_fourteen_clusters_have_colours_of_their_own(self):
        assert len({style(number) for number in range(15)}) == 15
        assert style(15) == style(1)
        paths = "".join(dots(np.arange(16.0), np.zeros(16), np.arange(16)))
        assert paths.count("M") == 16
        assert paths.count("deep") == 7

    def test_nothing_known_is_said(self):
        assert "no density" in ordered(np.zeros(0), np.zeros(0, int), [])
        assert "no density" in ordered(np.full(3, np.nan), np.zeros(3, int), [])
        assert "<svg" in ordered(np.zeros(1), np.zeros(1, int), [])

    def test_maps_show_every_kth_point(self):
        rng = np.random.default_rng(1)
        n = 60_000
        x, y = rng.uniform(0, 600, (2, n))
        parts = dots(x, y, (np.arange(n) % 3 == 0).astype(int))
        assert [part.count("h0") <= most for part, most in zip(parts, (MOST_BACKGROUND, MOST_MEMBERS), strict=True)] == [True, True]
        assert min(part.count("h0") for part in parts) > 1000

    def test_right_ascension_grows_to_the_left(self):
        numbers = np.array([1, 2])
        axes = Axis("ra", reverse=True), Axis("dec")
        for svg in (
            panel(np.array([1.0, 2.0]), np.zeros(2), numbers, axes, ((0.0, 3.0), (-1.0, 1.0)), names=True),
            sky_map(np.array([350.0, 20.0]), np.zeros(2), numbers),
        ):
            places = {label: float(x) for x, label in re.findall(r'class="number[^"]*" x="([\d.]+)"[^>]*>(\d)<', svg)}
            assert places["1"] > places["2"]

    @pytest.mark.parametrize("reverse", [False, True])
    def test_points_outside_and_without_value_are_left_out(self, reverse):
        svg = panel(np.array([0.5, 9.0, np.nan]), np.full(3, 0.5), np.zeros(3, int), (Axis("x"), Axis("y", reverse)), ((0, 1), (0, 1)))
        assert svg.count("h0") == 1

    def test_lives_begin_end_and_lead_to_each_other(self):
        columns = {
            "cluster_id": np.array([5, 6, 7, 99]), "kind": np.array(["birth", "merger", "split", "death"]), "snapshot": np.array([2, 4, 3, 1]),
            "time": np.array([2.0, 4.0, 3.0, 1.0]), "other_cluster_id": np.array([-1, 5, 6, -1]),
            "fraction": np.array([np.nan, 0.9, 0.75, np.nan]), "n_member": np.array([10, 20, 30, 40]),
        }  # fmt: skip
        events = events_of(columns, {5: 1, 6: 2, 7: 3})
        assert [(event.number, event.kind, event.other) for event in events] == [(1, "birth", 0), (2, "merger", 1), (3, "split", 2)]
        assert events[1].said == "2: merger into 1, 90 % of its members, at time 4, 20 members"
        svg = timeline(events, 3, 6)
        ElementTree.fromstring(svg)
        starts = [float(x) for x in re.findall(r'<rect x="([\d.]+)"', svg)]
        assert starts[1] < starts[0] < starts[2]
        assert svg.count('class="link"') == 2
        assert timeline([], 500, 1).count("<rect") == MOST_LIVES
