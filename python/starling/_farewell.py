"""What this process owes its SLs when it ends: a program that raises says so with its last lines, so that a learning node in
a container of its own can report it; one that ends says goodbye. Installed with the first open session, never on import.

The chained `sys.excepthook` and the `atexit` handler run on the main thread; a forked child gives its copies of the sockets
up, so that it neither speaks for its parent nor keeps the connection alive.
"""
import atexit
import os
import signal
import sys
import threading
import traceback
import weakref

from starling._errors import one_line
from starling._frames import LOG_LINES_MAX

EARLY_END = "the program ended before its training was over"

_live = weakref.WeakSet()  # open sessions of this process; borrowed
_installed = False
_previous_hook = None


def watch(session):
    """Has `session` say goodbye when this process ends, unless `forget` comes first."""
    global _installed, _previous_hook
    if not _installed:
        _installed = True
        _previous_hook = sys.excepthook
        sys.excepthook = _on_exception
        atexit.register(_on_exit)
        os.register_at_fork(after_in_child=_on_fork)
    _live.add(session)


def obey_term():
    """The first process of a container gets no SIGTERM that it has not asked for, and its pod would end only when its grace is over. Asks
    for it there, unless the program has a handler of its own or this is not its main thread: the program then raises SystemExit(143)."""
    if os.getpid() != 1 or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_term)
        os.register_at_fork(after_in_child=_forget_term)


def _on_term(number, _frame):
    raise SystemExit(128 + number)


def _forget_term():
    """A child is no first process: whoever ends its workers counts on them to die at once."""
    if signal.getsignal(signal.SIGTERM) is _on_term:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def forget(session):
    """The session has ended by itself."""
    _live.discard(session)


def describe(kind, value):
    """One line for an exception: `ValueError: the text`."""
    text = one_line(value, 400)
    return "{}: {}".format(kind.__name__, text) if text else kind.__name__


def _on_exception(kind, value, trace):
    _previous_hook(kind, value, trace)
    if hasattr(sys, "ps1"):  # At a prompt, the program goes on after an exception.
        return
    lines = "".join(traceback.format_exception(kind, value, trace)).splitlines()[-LOG_LINES_MAX:]
    for session in list(_live):
        session.fail(describe(kind, value), lines)


def _on_exit():
    for session in list(_live):
        session.leave(EARLY_END)


def _on_fork():
    for session in list(_live):
        session.close()
