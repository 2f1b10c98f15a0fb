"""A shadow in a thread of its own: loaded there without holding up the model in charge, and left there should it hang.

Whoever asks waits for the answer, so that the two models never compete for the interpreter while one of them is timed;
what waiting may cost is bounded by the patience of who asks. Which inputs it is asked is `device_agent.pairing`'s, and
which model is the shadow, and for how long, `device_agent.updates`'.
"""

import logging
import time
from collections.abc import Callable, MutableMapping
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from device_agent.lane import Charge
from device_agent.pairing import Answered, Shadow
from device_agent.store.slots import Slot
from edgeops.digest import digest_file
from edgeops.errors import ArtifactError
from edgeops.model.model import Model
from edgeops.protocol.messages import Phase, Shadowing

_log = logging.getLogger(__name__)


class Shadows:
    """The shadow of one deployment, at most one at a time; for the deployment's thread, but for reading."""

    def __init__(self, deployment: str, *, on_news: Callable[[], None]) -> None:
        """`on_news` says that `follow` would give another answer; called from any thread."""
        self._deployment = deployment
        self._on_news = on_news
        #: Those that could not be loaded, hung or failed, since the start.
        self.given_up = 0
        self._thread: ShadowThread | None = None
        #: The model that is not asked again before the end of its time.
        self._refused: str | None = None

    def leave_hung(self, models: MutableMapping[str, Model]) -> None:
        """A model that hangs stays where it is: whoever needs it else loads it anew."""
        if self._thread is not None and self._thread.hangs:
            models.pop(self._thread.digest, None)
            self._thread = None

    def follow(self, slot: Slot | None, watched: Shadowing | None, models: MutableMapping[str, Model]) -> Shadow | None:
        """The shadow that can be asked now, if there shall be one; what it loads is put into `models`."""
        if slot is None or watched is None:
            self.end()
            self._refused = None
            return None
        if self._thread is not None and self._thread.digest != slot.digest:
            self.end()
        if slot.digest == self._refused:
            self.end()
            return None
        if self._thread is None:
            self._thread = ShadowThread(slot, model=models.get(slot.digest), on_news=self._on_news)
        if self._thread.failure:
            self.give_up(self._thread.failure)
            return None
        model = self._thread.model
        if model is None:
            return None
        models[slot.digest] = model
        return Shadow(
            charge=Charge(slot.digest, Phase.LIVE, model),
            ask=self._thread.ask,
            share=watched.share,
            cpu=watched.cpu,
            give_up=self.give_up,
        )

    def give_up(self, reason: str) -> None:
        """The present one is of no use, and not asked again."""
        if self._thread is None or self._refused == self._thread.digest:
            return
        self._refused = self._thread.digest
        self.given_up += 1
        _log.warning(
            "shadow.given-up",
            extra={"deployment": self._deployment, "digest": self._refused, "reason": reason},
        )
        self._on_news()

    def end(self) -> None:
        """There is none any more; never waits."""
        if self._thread is not None:
            self._thread.end()
            self._thread = None


class ShadowThread:
    """Loads one model, unless it is there already, and answers what it is asked; for one thread that asks."""

    def __init__(self, slot: Slot, *, model: Model | None, on_news: Callable[[], None]) -> None:
        """`on_news` is called from its thread, once it is loaded or cannot be."""
        self.digest = slot.digest
        #: None until it is loaded.
        self.model = model
        #: Why it is of no use; empty = it is, or may become so.
        self.failure = ""
        #: It was asked something that it never answered: nobody else may use its model.
        self.hangs = False
        self._slot = slot
        self._on_news = on_news
        self._asked: SimpleQueue[NDArray[np.float32] | None] = SimpleQueue()
        self._answers: SimpleQueue[Answered] = SimpleQueue()
        # A daemon thread: one that hangs must not hold up a stop.
        Thread(target=self._run, name=f"shadow-{slot.digest[7:15]}", daemon=True).start()

    def ask(self, window: NDArray[np.float32], *, patience_ns: int) -> Answered | None:
        """As `device_agent.pairing.Ask`."""
        self._asked.put(window)
        try:
            return self._answers.get(timeout=patience_ns / 1e9)
        except Empty:
            self.hangs = True
            return None

    def end(self) -> None:
        """It is asked no more; never waits."""
        self._asked.put(None)

    def _run(self) -> None:
        if self.model is None:
            try:
                self.model = _load(self._slot)
            except Exception as error:  # noqa: BLE001 - a damaged file must not end more than the shadow
                self.failure = f"{type(error).__name__}: {error}"
            self._on_news()
        model = self.model
        if model is None:
            return
        while (window := self._asked.get()) is not None:
            self._answers.put(_answer(model, window))


def _load(slot: Slot) -> Model:
    """Nothing has run it since it was replaced: it is checked before it is believed."""
    if digest_file(slot.path) != slot.digest:
        raise ArtifactError(f"{slot.path} is not the model {slot.digest} any more; it cannot be a shadow")
    return Model.load(slot.path)


def _answer(model: Model, window: NDArray[np.float32]) -> Answered:
    started_ns = time.perf_counter_ns()
    try:
        prediction = model.predict(window)
    except Exception as error:  # noqa: BLE001 - a model is foreign code: whatever it raises is what came of this input
        return Answered(None, time.perf_counter_ns() - started_ns, error)
    return Answered(prediction, time.perf_counter_ns() - started_ns)
