"""A saved view at W&B of all runs by experiment: ``python -m alexnet_exp.dashboard entity=...``."""

import argparse
from difflib import get_close_matches
from typing import Any

from alexnet_exp import cli
from alexnet_exp.errors import UserError

# More groups and runs than a sweep has; W&B's own limit of 10 would hide most experiments.
MOST = 200


def build_dashboard(entity: str, project: str, tag: str | None = None) -> Any:
    """The view, not yet saved: runs grouped by experiment, and so every panel by its seeds.

    Args:
        entity: Team or user at W&B that owns the project.
        project: Project that the runs are in.
        tag: Only runs with this tag, such as the name of a data set or of a sweep; None: all.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace``.

    Raises:
        UserError: The library for dashboards is not installed.
    """
    try:
        import wandb_workspaces.reports.v2.interface as panels
        import wandb_workspaces.workspaces as views
    except ImportError as error:
        raise UserError(
            f"the dashboard needs the library wandb-workspaces ({error}): pip install"
            " 'alexnet-exp[dashboard]'"
        ) from error

    def curve(title: str, metric: str) -> Any:
        return panels.LinePlot(
            title=f"{title}, mean and standard deviation over seeds",
            x="epoch",
            y=[metric],
            title_x="epoch",
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=MOST,
        )

    def bars(title: str, metric: str) -> Any:
        return panels.BarPlot(
            title=f"{title}, mean and standard deviation over seeds",
            metrics=[metric],
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=MOST,
            max_bars_to_show=MOST,
        )

    return views.Workspace(
        entity=entity,
        project=project,
        name=f"AlexNet ablations: {tag}" if tag else "AlexNet ablations",
        sections=[
            views.Section(
                name="Errors by experiment",
                panels=[
                    bars("Test top-1 error", "final/test/top1_error"),
                    curve("Validation top-1 error", "val/top1_error"),
                    curve("Training top-1 error", "train/top1_error"),
                ],
                is_open=True,
            ),
            views.Section(
                name="Throughput",
                panels=[bars("Images per second of training", "images_per_second")],
                is_open=True,
            ),
            views.Section(
                name="Final errors of every run",
                panels=[panels.WeavePanelSummaryTable(table_name="final/errors")],
                is_open=True,
            ),
        ],
        settings=views.WorkspaceSettings(x_axis="epoch", max_runs=MOST),
        runset_settings=views.RunsetSettings(
            groupby=[views.Config("experiment")],
            filters=views.And(views.Tags().isin([tag])) if tag else "",
            pinned_columns=[
                "run:displayName",
                "summary:final/test/top1_error",
                "summary:final/val/top1_error",
                "summary:images_per_second",
                "config:seed.value",
            ],
        ),
    )


def save_dashboard(dashboard: Any) -> str:
    """Save the view at W&B and give its address.

    Raises:
        UserError: There is no key, no connection, or no such entity or project.
    """
    try:
        return str(dashboard.save().url)
    except Exception as error:  # what W&B's transport raises has no common class
        where = f"{dashboard.entity}/{dashboard.project}"
        raise UserError(
            f"W&B did not save the dashboard of {where} ({str(error)[:300]}): run `wandb login`"
            f" once, and look whether entity={dashboard.entity} is yours to write to and has a"
            f" project={dashboard.project}"
        ) from error


def main() -> None:
    """Entry point of ``python -m alexnet_exp.dashboard``."""
    parser = argparse.ArgumentParser(
        prog="python -m alexnet_exp.dashboard",
        description="Save a view at W&B: errors, training curves and throughput by experiment.",
    )
    parser.add_argument(
        "settings",
        nargs="*",
        default=[],
        metavar="name=value",
        help="entity=<team or user> project=alexnet_exp tag=<only runs with this tag>",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the view as JSON, no network")
    arguments = parser.parse_args()
    with cli.answering("the dashboard was not saved"):
        settings = _settings(arguments.settings)
        if arguments.dry_run:
            settings.setdefault("entity", "team")
        if "entity" not in settings:
            raise UserError("whose dashboard? Add entity=<your team or user at W&B>")
        dashboard = build_dashboard(**settings)
        if arguments.dry_run:
            print(dashboard._model.model_dump_json(by_alias=True, exclude_none=True, indent=2))
        else:
            print(f"dashboard: {save_dashboard(dashboard)}")


def _settings(words: list[str]) -> dict[str, str]:
    """``name=value`` words as arguments of ``build_dashboard``.

    Raises:
        UserError: A name is unknown.
    """
    chosen = {"project": "alexnet_exp"}
    for word in words:
        name, separator, value = word.partition("=")
        known = ("entity", "project", "tag")
        if name not in known or not separator or not value:
            close = get_close_matches(name, known) or known
            raise UserError(f"{word}: did you mean {' or '.join(f'{k}=...' for k in close)}?")
        chosen[name] = value
    return chosen


if __name__ == "__main__":
    main()
