"""What follows from the pieces of a step, as tables for the screen and for Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table as RichTable

from alexnet_exp.bench.observe import Observation
from alexnet_exp.config.training import StrategyName
from alexnet_exp.cost.pieces import SHARES, Link, Links, Machine, same_for_all
from alexnet_exp.cost.step_time import Job, fits, step_time
from alexnet_exp.cost.traffic import bytes_per_activation, bytes_per_step, transfers

BATCHES = (128, 256, 1024, 4096)
"""Global batch sizes that are predicted."""

PARALLEL = [name for name in StrategyName if name != StrategyName.single]


@dataclass(frozen=True)
class Table:
    """Headings and rows of text; the first column is at the left, all others at the right."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def without_first(self) -> "Table":
        """All columns but the first."""
        return Table(self.headings[1:], [row[1:] for row in self.rows])

    def markdown(self) -> str:
        """A table of GitHub's Markdown."""
        rule = ["---", *("---:" for _ in self.headings[1:])]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.headings, rule, *self.rows))

    def rich(self) -> RichTable:
        """For the screen."""
        table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        for number, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


def sent_bytes(
    job: Job, batches: Sequence[int], devices: Sequence[int], activation_bytes: int
) -> Table:
    """Megabytes that each device sends in a step, by strategy."""
    rows = []
    for batch in batches:
        for count in devices:
            cells = []
            for strategy in PARALLEL:
                step = transfers(strategy, job.layers, batch, count, job.towers, activation_bytes)
                fit = fits(strategy, job, batch, count)
                cells.append(f"{bytes_per_step(step) / 1e6:.1f}" if fit else "-")
            rows.append([f"{batch}", f"{count}", *cells])
    return Table(["global batch", "devices", *map(str, PARALLEL)], rows)


def fastest(
    job: Job,
    machine: Machine,
    links: Sequence[tuple[str, Links]],
    batches: Sequence[int] = BATCHES,
    devices: Sequence[int] = SHARES[1:],
) -> Table:
    """The strategy with the shortest step, and how many times faster than one device it is.

    In brackets where it is slower than one device alone.

    Args:
        job: What is trained.
        machine: One device.
        links: Between the devices, with their names.
        batches: Global batch sizes.
        devices: Numbers of devices.
    """
    rows = []
    for name, link in links:
        for batch in batches:
            alone = step_time(StrategyName.single, job, batch, 1, machine, link).total
            cells = [_fastest(job, machine, link, batch, count, alone) for count in devices]
            rows.append([name, f"{batch}", f"{batch / alone:,.0f}", *cells])
    return Table(
        ["link", "batch", "images/s alone", *(f"{count} devices" for count in devices)],
        rows,
    )


def _fastest(
    job: Job, machine: Machine, link: Links, batch: int, devices: int, alone: float
) -> str:
    totals = {
        strategy: step_time(strategy, job, batch, devices, machine, link).total
        for strategy in PARALLEL
        if fits(strategy, job, batch, devices)
    }
    if not totals:
        return "-"
    best = min(totals, key=totals.__getitem__)
    cell = f"{best} {alone / totals[best]:.2f}"
    return cell if totals[best] < alone else f"({cell})"


def measured_pieces(machine: Machine) -> Table:
    """Milliseconds of each piece, forward and backward."""
    rows = []
    for part in ("conv", "fc"):
        for share in sorted({piece.share for piece in machine.pieces if piece.part == part}):
            mine = [p for p in machine.pieces if (p.part, p.share) == (part, share)]
            name = f"{part}, all" if share == 1 else f"{part}, 1/{share} of its units"
            rows += [
                [name, f"{p.images}", f"{1e3 * p.forward:.2f}", f"{1e3 * p.backward:.2f}"]
                for p in mine
            ]
    return Table(["part", "images", "forward, ms", "backward, ms"], rows)


def measured_links(machine: Machine) -> Table:
    """Latency and bandwidth of each collective between the devices of the machine."""
    rows = [
        [name, f"{link.bandwidth / 1e9:.2f}", f"{1e6 * link.latency:.0f}"]
        for name, link in machine.links.items()
    ]
    return Table(["collective", "GB/s sent", "latency of a message, microseconds"], rows)


def stated(links: Sequence[Link]) -> list[tuple[str, Links]]:
    """Links as ``fastest`` takes them."""
    return [(link.name, same_for_all(link)) for link in links]


def observed(job: Job, machine: Machine, observations: Sequence[Observation]) -> Table:
    """Real steps beside the model and the formula.

    Args:
        job: What was trained.
        machine: Whose pieces and links the prediction is made of.
        observations: Of the same machine.
    """
    rows = []
    size = bytes_per_activation(machine.precision)
    backend = "nccl" if machine.overlaps else "gloo"
    for seen in observations:
        strategy = StrategyName(seen.strategy)
        devices = 1 if strategy == StrategyName.single else seen.devices
        predicted = step_time(strategy, job, seen.batch, devices, machine, machine.links).total
        step = transfers(strategy, job.layers, seen.batch, devices, job.towers, size)
        rows.append(
            [
                seen.strategy,
                f"{devices}",
                f"{seen.batch}",
                f"{1e3 * seen.seconds:.0f}",
                f"{1e3 * predicted:.0f}",
                f"{predicted / seen.seconds:.2f}",
                "-" if seen.sent is None else f"{seen.sent / 1e6:.3f}",
                f"{bytes_per_step(step, backend) / 1e6:.3f}",
            ]
        )
    return Table(
        ["strategy", "devices", "batch", "ms", "model", "ratio", "MB sent", "formula"],
        rows,
    )
