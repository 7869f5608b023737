"""From its import on, SIGUSR1 prints where the main thread stands, and a crash prints its stack.

Imported before anything else of a process: what is imported may hang, too.
"""

import faulthandler
import signal

faulthandler.enable()
faulthandler.register(signal.SIGUSR1, all_threads=False)
