"""The one exception that stands for a mistake of the user rather than of the program."""


class UserError(Exception):
    """Something the user can mend: a wrong override, a missing folder, a full disk.

    The message names the file or override at fault and the way out. The commands print it
    without a traceback and end with exit code 2.
    """
