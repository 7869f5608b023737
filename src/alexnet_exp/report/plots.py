"""The figures of a report."""

from alexnet_exp.report.claims import Metric
from alexnet_exp.report.curves import activation_cells, activations, learning_curves
from alexnet_exp.report.drawing import Figure
from alexnet_exp.report.findings import Report
from alexnet_exp.report.forest import differences


def figures(report: Report) -> list[Figure]:
    """Every figure of the report that has something to show."""
    drawn = [differences(report, metric) for metric in (Metric.top1, Metric.top5)]
    for number, data in enumerate(dict.fromkeys(cell.data for cell in report.cells)):
        drawn.append(learning_curves(report, data, number))
    for number, (name, cells) in enumerate(activation_cells(report).items()):
        drawn.append(activations(name, cells, number))
    return [figure for figure in drawn if figure is not None]
