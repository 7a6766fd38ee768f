"""SwarmError: the one exception of this package. Its text is one line."""
TEXT_MAX = 2000


def one_line(text, limit=TEXT_MAX):
    """`text` on one line, without control characters, of at most `limit` characters."""
    words = " ".join(str(text).split())
    printable = "".join(c if c.isprintable() else "?" for c in words)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"


class SwarmError(Exception):
    """Why the swarm and this program cannot go on together.

    `cause`: what went wrong. `code`: a stable word for programs, "" for a wrong argument. `component`: who noticed.
    `next_step`: what to do about it. `from_sl`: whether the learning node said so. Its text is one line,
    `component: code: cause. Next: next_step`, of which absent parts are left out.
    """

    def __init__(self, cause, code="", component="", next_step="", from_sl=False):
        self.cause = one_line(cause)
        self.code = one_line(code, 64)
        self.component = one_line(component, 64)
        self.next_step = one_line(next_step)
        self.from_sl = from_sl
        text = ": ".join(part for part in (self.component, self.code, self.cause) if part)
        if self.next_step:
            text += ". Next: " + self.next_step
        super().__init__(text)


SwarmError.__module__ = "starling"  # What a traceback calls it is what programs import.

COMPONENT = "starling client"


def client_error(code, cause, next_step=""):
    """A SwarmError that this package found itself."""
    return SwarmError(cause, code, COMPONENT, next_step)
