"""What both dashboards are made of. Types and builders are Grafana's own (grafana-foundation-sdk, Grafana 11.6)."""

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"
TROUBLE = 'state=~"connecting|stalled|backoff|failed"'

# The filters of every query: the servers that were chosen, and the camera.
SERVER = 'instance=~"$instance"'
CAMERA = 'instance=~"$instance", camera="$camera"'


def per_second(metric, labels, by=""):
    """How fast a counter rises, summed up."""
    return f"sum{by and f' by ({by})'} (rate({metric}{{{labels}}}[$__rate_interval]))"


def quantile(share, histogram, labels):
    """A quantile of a histogram, over all its series."""
    return f"histogram_quantile({share}, {per_second(histogram + '_bucket', labels, 'le')})"


def mean(histogram, labels):
    """The mean of what a histogram counted."""
    return f"{per_second(histogram + '_sum', labels)} / ({per_second(histogram + '_count', labels)} > 0)"


def steps(*bounds):
    """Colours by value: the first from the start, each other from its bound on."""
    colours = [model.Threshold(value=bound, color=colour) for bound, colour in bounds]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(colours)


def with_queries(panel, queries, table=False):
    """Adds queries: (legend, expression) each."""
    for letter, (legend, expression) in zip("ABCDEFGHIJ", queries, strict=False):
        query = Dataquery().datasource(SOURCE).ref_id(letter).expr(expression).legend_format(legend)
        if table:
            query = query.instant().format(PromQueryFormat.TABLE)
        panel = panel.with_target(query)
    return panel.datasource(SOURCE)


def number(title, about, unit, expression, colours, decimals=None):
    """One figure, large."""
    panel = (
        Stat()
        .title(title)
        .description(about)
        .unit(unit)
        .height(4)
        .span(3)
        .thresholds(colours)
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return with_queries(panel, [("", expression)])


def curves(title, about, unit, queries, span=8, stacked=False, least=0, most=None, colours=None):
    """Values over time."""
    legend = (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["mean", "max", "lastNotNull"])
    )
    tooltip = (
        common_builders.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    panel = (
        Timeseries()
        .title(title)
        .description(about)
        .unit(unit)
        .height(9)
        .span(span)
        .legend(legend)
        .tooltip(tooltip)
        .line_width(1)
        .fill_opacity(30 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
    )
    if least is not None:
        panel = panel.min(least)
    if most is not None:
        panel = panel.max(most)
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if colours is not None:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(colours).thresholds_style(style)
    return with_queries(panel, queries)


def rows(title, about, queries, names, span=12):
    """A table of what the queries tell now; `names` gives columns their titles and units."""
    hidden = {"Time": True, "__name__": True, "job": True}
    arrange = {"excludeByName": hidden, "renameByName": {field: name for field, (name, _) in names.items()}}
    panel = (
        Table()
        .title(title)
        .description(about)
        .height(9)
        .span(span)
        .with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(model.DataTransformerConfig(id_val="organize", options=arrange))
    )
    for name, unit in names.values():
        if unit:
            panel = panel.override_by_name(name, [model.DynamicConfigValue(id_val="unit", value=unit)])
    return with_queries(panel, queries, table=True)


def to_camera(panel):
    """Leads from the column of cameras to the camera's dashboard."""
    address = "/d/centerx-camera?var-camera=${__data.fields.Camera}&var-instance=${__data.fields.Server}&${__url_time_range}"
    link = [{"title": "Open this camera's dashboard", "url": address}]
    return panel.override_by_name("Camera", [model.DynamicConfigValue(id_val="links", value=link)])


def link(title, address, about, new_tab=False):
    """A link above a dashboard."""
    made = build.DashboardLink(title).type(model.DashboardLinkType.LINK).url(address).tooltip(about)
    return made.keep_time(not new_tab).include_vars(False).target_blank(new_tab).icon("external link" if new_tab else "dashboard")


def choice(name, label, query, many):
    """A variable whose values are a label's."""
    variable = (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(many)
        .include_all(many)
    )
    return variable.all_value(".*") if many else variable


def dashboard(uid, title, about, many_servers):
    """An empty dashboard with what both have."""
    alerts = (
        build.AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(True)
        .icon_color(RED)
        .expr('ALERTS{alertname=~"Centerx.+", alertstate="firing"}')
    )
    page = build.TextBoxVariable("page").label("Live page").default_value("http://localhost:8080/")
    return (
        build.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["centerx"])
        .timezone("browser")
        .refresh("10s")
        .time("now-1h", "now")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .annotation(alerts)
        .with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(choice("instance", "Server", "label_values(centerx_build_info, instance)", many_servers))
        .with_variable(page)
        .link(link("Live page", "${page}", "The cameras' pictures, on the server itself", new_tab=True))
    )
