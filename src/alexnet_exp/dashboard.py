"""A saved view at W&B of all runs by experiment: ``python -m alexnet_exp.dashboard entity=...``."""

import argparse
from difflib import get_close_matches
from typing import Any

from alexnet_exp.errors import UserError, answering

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

    over_seeds: Any = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev",
                  "max_runs_to_show": MOST}  # fmt: skip

    def curve(title: str, metric: str) -> Any:
        title = f"{title}, mean and standard deviation over seeds"
        return panels.LinePlot(title=title, x="epoch", title_x="epoch", y=[metric], **over_seeds)

    def bars(title: str, metric: str) -> Any:
        title = f"{title}, mean and standard deviation over seeds"
        return panels.BarPlot(title=title, metrics=[metric], max_bars_to_show=MOST, **over_seeds)

    sections = {
        "Errors by experiment": [
            bars("Test top-1 error", "final/test/top1_error"),
            curve("Validation top-1 error", "val/top1_error"),
            curve("Training top-1 error", "train/top1_error"),
        ],
        "Throughput": [bars("Images per second of training", "images_per_second")],
        "Final errors of every run": [panels.WeavePanelSummaryTable(table_name="final/errors")],
    }
    return views.Workspace(
        entity=entity,
        project=project,
        name=f"AlexNet ablations: {tag}" if tag else "AlexNet ablations",
        sections=[
            views.Section(name=name, panels=shown, is_open=True) for name, shown in sections.items()
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


def main() -> None:
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
    with answering("the dashboard was not saved"):
        settings = _settings(arguments.settings)
        if arguments.dry_run:
            settings.setdefault("entity", "team")
        if "entity" not in settings:
            raise UserError("whose dashboard? Add entity=<your team or user at W&B>")
        dashboard = build_dashboard(**settings)
        if arguments.dry_run:
            print(dashboard._model.model_dump_json(by_alias=True, exclude_none=True, indent=2))
            return
        try:
            print(f"dashboard: {dashboard.save().url}")
        except Exception as error:  # what W&B's transport raises has no common class
            where = f"{settings['entity']}/{settings['project']}"
            raise UserError(
                f"W&B did not save the dashboard of {where} ({str(error)[:300]}): run `wandb login`"
                f" once, and look whether entity={settings['entity']} is yours to write to and has"
                f" a project={settings['project']}"
            ) from error


def _settings(words: list[str]) -> dict[str, str]:
    """``name=value`` words as arguments of ``build_dashboard``; UserError if one is unknown."""
    chosen, known = {"project": "alexnet_exp"}, ("entity", "project", "tag")
    for word in words:
        name, _, value = word.partition("=")
        if name not in known or not value:
            close = get_close_matches(name, known) or known
            raise UserError(f"{word}: did you mean {' or '.join(f'{k}=...' for k in close)}?")
        chosen[name] = value
    return chosen


if __name__ == "__main__":
    main()
