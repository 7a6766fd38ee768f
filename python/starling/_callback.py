"""The engine common to all callbacks: when to sync, what to measure, what to log. It knows no framework."""
import collections
import logging
import math
import sys
import threading
import time

import numpy as np

from starling._errors import SwarmError, client_error
from starling._frames import LOG_LINES_MAX
from starling._layout import as_words, require_same, spec_of
from starling._merkle import short
from starling._session import Session

# What the two generations print; None: nothing.
Texts = collections.namedtuple("Texts", ("round", "merged", "base_loss", "finished", "rare", "go_on", "modes", "closing", "over",
                                         "late", "reload", "done"))
TEXTS_2 = Texts(
    "Starting Swarm merging round ...", "Merge Done: RVInt [cur: %d Nxt: %d]",
    "Calculated local loss using merged parameters = %s", "Finished local training !!!",
    "No user merge done during swarm training. syncFrequency=%d may be high.",
    "Swarm training may continue till trainings in min peers are done!", {},
    "Final merging starts at training end. Waiting for other peers to complete ...",
    "Swarm training is over. Stopping local training",
    "Swarm training is over before local training. Exit gracefully.", "Loading the last merged swarm model",
    "All peers and Swarm training rounds finished. Final Swarm model was loaded.")
TEXTS_0 = Texts(
    None, None, None, "Finished local training rounds", None, "Continuing syncs till minimum required peers finish ...",
    {"snapshot": "Checkin model: Snapshot, Using Final local version",
     "active": "Checkin model: Active, Using Current merged version",
     "inactive": "Checkin model: Inactive, Not taking part in merges"},
    None, None, None, None, "All peers finished. Loading final model")


class _Stdout(logging.StreamHandler):
    """Writes to what sys.stdout is at that moment, not at import."""

    def __init__(self):
        super().__init__(sys.stdout)

    def emit(self, record):
        """Writes one line."""
        self.stream = sys.stdout
        super().emit(record)


def default_logger(name="SwarmCallback"):
    """A logger at INFO on stdout, `time : name : level : message`."""
    logger = logging.getLogger(name)
    if not logger.handlers:
        handler = _Stdout()
        handler.setFormatter(logging.Formatter("%(asctime)s : %(name)s : %(levelname)s : %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.INFO)
    return logger


class Journal:
    """A logger that remembers the last 20 lines for the SL. `logger` needs info, debug, warning and error."""

    def __init__(self, logger):
        self.logger = logger
        self.lines = collections.deque(maxlen=LOG_LINES_MAX)

    def say(self, level, text):
        """Logs `text` at "debug", "info", "warning" or "error"."""
        if level != "debug":
            self.lines.append("%s: %s" % (level.upper(), text))
        getattr(self.logger, level)(text)

    def fail(self, text, code=""):
        """Logs `text` as an error and raises it as SwarmError."""
        self.say("error", text)
        error = SwarmError(text)
        error.code = code  # `text` is what users look for: nothing goes before it.
        raise error from None


def _same_bytes(a, b):
    return np.array_equal(np.ascontiguousarray(a).reshape(-1).view(np.uint8), np.ascontiguousarray(b).reshape(-1).view(np.uint8))


class Engine:
    """Drives one training. Hooks: `tensors()` -> dict name -> array or Bfloat16Words; `load(views)` with a dict of read-only views
    (uint16 words for BF16) that the hook must copy; `evaluate()` -> (loss or None, metric or None); `stop()`.

    All hooks of the training run on the thread that called `train_begin`. Every failure is a SwarmError, logged once.
    In loopback nothing but the epochs is counted, and no SL is needed.
    """

    def __init__(self, settings, hooks, journal, texts=TEXTS_2, loopback=False, session=Session):
        self.settings, self._hooks, self._journal, self._texts = settings, hooks, journal, texts
        self.loopback, self._make_session = loopback, session
        self.session = None
        self.epochs = self.merges = 0
        self.over = self._ended = False
        self._counter = settings.sync_interval
        self._interval = settings.sync_interval
        self._batches = 0
        self._since = 0.0
        self._base = (None, None)
        self._last = None  # the Merged that said that the training is over
        self._thread = None
        self._specs = {}

    def train_begin(self):
        """Opens the session and takes part in a first merge, so that all start from the same model."""
        if self.loopback:
            return
        if self.session is not None:
            self._journal.fail("this callback has served a training already; start the program and its SL again for another",
                               "session-over")
        self._thread = threading.get_ident()
        self._guarded("Init", self._open)
        self._since = time.monotonic()
        self._guarded("Sync", self._sync)

    def batch_end(self):
        """Counts a batch; syncs first when the counter is at 0 or the SL asks for it."""
        if self.loopback or self.over:
            return
        if self.session is None:
            self._journal.fail("on_batch_end came before on_train_begin; call on_train_begin first", "not-open")
        if threading.get_ident() != self._thread:
            self._journal.fail("the callback is called on another thread than on_train_begin; give Keras a list, as in "
                               "callbacks=[swarm_callback]", "another-thread")
        self._batches += 1
        if self._counter == 0 or self.session.attention():
            self._guarded("Sync", self._sync)
            self.merges += 1
        self._counter -= 1

    def epoch_end(self):
        """Counts an epoch."""
        self.epochs += 1

    def train_end(self):
        """The closing exchange: returns with the final model loaded once all are done."""
        if self.loopback or self._ended:
            return
        if self.session is None:
            self._journal.fail("on_train_end came before on_train_begin; call on_train_begin first", "not-open")
        self._ended = True
        merged = self._late() if self.over else self._guarded("End", self._finish)
        if not self.session.result(*self._measure()):
            self._journal.say("debug", "the SL has left before the final result was reported")
        self.session.goodbye("done")
        self._journal.say("info", "Final model %s of round %d: same on %d of %d"
                          % (short(merged.root), merged.round, merged.same_on, merged.nodes))

    def _guarded(self, what, work):
        try:
            return work()
        except SwarmError as error:
            text = "%s Swarm call to SL container failed - %s%s" % (what, "SL error: " if error.from_sl else "", error)
            if self.session is not None:
                self.session.fail(text, self._journal.lines)
            self._journal.fail(text, error.code)
        return None

    def _say(self, text, *values):
        if text is not None:
            self._journal.say("info", text % values if values else text)

    def _tensors(self):
        tensors = self._hooks.tensors()
        return tensors, {name: spec_of(name, array) for name, array in tensors.items()}

    def _open(self):
        settings = self.settings
        specs = self._tensors()[1]
        if not specs:
            raise client_error("bad-model", "the model has no parameters", "build it before training, in Keras with an Input")
        self.session = self._make_session(say=self._say)
        self.session.open(specs.values(), settings.sync_interval, settings.min_peers, settings.merge, settings.contract,
                          settings.weight, settings.platform, settings.total_epochs)
        self._specs = specs

    def _offer(self):
        """Writes the model straight into the update arena: the only copy on its way to the swarm."""
        tensors, specs = self._tensors()
        require_same(specs, self._specs, "the model is not the one of the training's start")
        for name, view in self.session.update.items():
            np.copyto(view, as_words(tensors[name])[1], casting="equiv")

    def _measure(self):
        if self.settings.validation is None:
            return None, None
        pair = self._hooks.evaluate()
        for name, value in zip(("loss", "metric"), pair):
            if value is not None and not math.isfinite(value):
                self._journal.say("warning", "the %s is %s and is not reported" % (name, value))
        return pair

    def _report(self):
        spent = int((time.monotonic() - self._since) * 1000)
        loss, metric = self._measure()
        return {"batches": self._batches, "train_ms": spent, "epoch": self.epochs, "loss": loss, "metric": metric,
                "base_loss": self._base[0], "base_metric": self._base[1]}

    def _load(self, verify):
        """Loads the merged model; with `verify` sees to it that it arrived: a hook may write into copies."""
        merged = self.session.merged
        self._hooks.load(dict(merged))
        if verify:
            tensors = self._tensors()[0]
            lost = [name for name, view in merged.items() if not _same_bytes(view, as_words(tensors[name])[1])]
            if lost:
                raise client_error("load-differs", "the merged model did not reach %d of the program's tensors: %s"
                                   % (len(lost), ", ".join(lost[:5])), "load them in place, without conversion")

    def _sync(self):
        self._say(self._texts.round)
        report = self._report()
        self._offer()
        merged = self.session.sync(**report)
        if merged.over:
            self.over = True
            self._verify(merged)
        self._load(merged.over or report["batches"] == 0)
        previous = self._interval
        self._interval = merged.next_interval or self._interval  # 0: the SL leaves it as it is.
        self._counter = self._interval
        self._batches = 0
        if not merged.counted and report["batches"]:
            self._say("This interval of %d batches did not take part in round %d; training goes on from its model",
                      report["batches"], merged.round)
        self._say(self._texts.merged, previous, self._interval)
        if merged.over:
            self._last = merged
            self._say(self._texts.over)
            self._hooks.stop()
        else:
            self._base = self._measure()
            if self._base[0] is not None:
                self._say(self._texts.base_loss, self._base[0])
        self._since = time.monotonic()
        return merged

    def _verify(self, merged):
        root = self.session.merged_root()
        if root != merged.root:
            raise client_error("root-differs", "the final model in memory is %s, the swarm's is %s; it was not loaded"
                               % (short(root), short(merged.root)), "start the program and its SL again")

    def _finish(self):
        texts = self._texts
        self._say(texts.finished)
        if self.merges == 0 and texts.rare is not None:
            self._journal.say("warning", texts.rare % self.settings.sync_interval)
        self._say(texts.go_on)
        self._say(texts.modes.get(self.settings.mode))
        self._say(texts.closing)
        report = self._report()
        self._offer()
        merged = self.session.finish(mode=self.settings.mode, **report)
        self._verify(merged)
        if texts is TEXTS_0:  # "Loading …" comes before, "… was loaded." after it.
            self._say(texts.done)
        self._load(True)
        if texts is not TEXTS_0:
            self._say(texts.done)
        self.over = True
        return merged

    def _late(self):
        """The swarm was over first; its final model was verified and loaded when that became known. Load it once more:
        a program may have trained on."""
        self._say(self._texts.late or self._texts.finished)
        self._say(self._texts.reload)
        if self._texts is TEXTS_0:
            self._say(self._texts.go_on)
            self._say(self._texts.modes.get(self.settings.mode))
            self._say(self._texts.done)
        self._load(True)
        if self._texts is not TEXTS_0:
            self._say(self._texts.done)
        return self._last
