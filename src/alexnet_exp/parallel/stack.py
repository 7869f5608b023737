"""From its import on, SIGUSR1 prints where the main thread stands, and a crash prints its stack.

Imported before anything else of a process: what is imported may hang, too.
"""

import faulthandler
import signal


def print_at_signal() -> None:
    """Once more where it has been undone: Lightning sets all signals back after every loop."""
    faulthandler.unregister(signal.SIGUSR1)
    faulthandler.register(signal.SIGUSR1, all_threads=False)


faulthandler.enable()
print_at_signal()
