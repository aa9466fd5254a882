"""The one error a user can cause."""


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one line: what is wrong, where, and what to do. The command line prints it without a
    traceback and ends with `exit_status`.
    """

    def __init__(self, message: str, *, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = exit_status
